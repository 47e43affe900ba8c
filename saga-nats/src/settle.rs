//! Settling: acknowledgements, delayed redelivery, dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use bytes::Bytes;
use futures::future::join_all;
use saga_core::adapter::Taken;
use saga_core::ports::{Disposition, Settled, Settlement};
use saga_core::record::Timestamp;
use saga_core::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use saga_core::{Error, ErrorKind, Message};
use tokio::time::{Instant, timeout};

use crate::names::{dead_subject, entity, subject};
use crate::publish::{Stored, send};
use crate::subscribe::{Handle, Reading};
use crate::wire::{put, to_wire};

/// How often a dead letter had been delivered.
pub(crate) const DEAD_ATTEMPTS: &str = "saga-dead-attempts";
/// When it was given up.
pub(crate) const DEAD_AT: &str = "saga-dead-at";
/// The server has looked for readers by then.
const LOOKED_WITHIN: Duration = Duration::from_millis(100);
/// How long a delivery waits whose dead letter could not be written.
const DEAD_RETRY: Duration = Duration::from_secs(1);

/// When the server last heard of a delivery: past the acknowledgement wait it has taken it back. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    begun: Instant,
    after_ms: Arc<AtomicU64>,
}

impl Heard {
    pub(crate) fn now() -> Self {
        Self { begun: Instant::now(), after_ms: Arc::default() }
    }

    /// The server has answered what was sent at this time. Had it taken the delivery back before its answer, that would not count: then the
    /// word may have come too late.
    fn again(&self, at: Instant, wait: Duration) {
        if !self.is_within(wait) {
            return;
        }
        let ms = u64::try_from(at.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn is_within(&self, wait: Duration) -> bool {
        let last = self.begun + Duration::from_millis(self.after_ms.load(Ordering::Relaxed));
        last.elapsed() < wait
    }
}

pub(crate) async fn settle(reading: &Reading, batch: Vec<Settlement>) -> Vec<Settled> {
    let answers = join_all(batch.into_iter().map(|settlement| settle_one(reading, settlement))).await;
    let limit = Duration::from_millis(reading.link.config.request_timeout_ms);
    // Written before this returns, so that a process that ends now has settled them.
    match timeout(limit, reading.link.client.flush()).await {
        Ok(Ok(())) => answers,
        // Away: whether they are taken depends on when the connection is back.
        Ok(Err(_)) | Err(_) => answers.into_iter().map(|_| Settled::Stale).collect(),
    }
}

async fn settle_one(reading: &Reading, settlement: Settlement) -> Settled {
    let Settlement { message, attempt, disposition, receipt } = settlement;
    let Some(taken) = reading.deliveries.take(receipt) else { return Settled::Stale };
    if !taken.handle.heard.is_within(reading.ack_wait) {
        // Taken back by the server, and delivered again to somebody.
        reading.deliveries.done(taken);
        return Settled::Stale;
    }
    match disposition {
        Disposition::Ack => answer(reading, taken, AckKind::Ack).await,
        Disposition::Retry { after } if reading.spec.key_order => {
            reading.deliveries.again(taken, after);
            Settled::Settled
        }
        Disposition::Retry { after } => {
            let delay = (!after.is_zero()).then_some(after);
            answer(reading, taken, AckKind::Nak(delay)).await
        }
        Disposition::DeadLetter { reason } => {
            match bury(reading, &message, attempt, &reason, &taken.handle).await {
                Ok(()) => answer(reading, taken, AckKind::Ack).await,
                Err(error) => {
                    tracing::warn!(topic = %message.topic, id = %message.id, %error, "the dead letter is not written; the message comes again");
                    reading.deliveries.again(taken, DEAD_RETRY);
                    Settled::Stale
                }
            }
        }
    }
}

async fn answer(reading: &Reading, taken: Taken<Handle>, kind: AckKind) -> Settled {
    let payload: Bytes = kind.into();
    let limit = Duration::from_millis(reading.link.config.request_timeout_ms);
    let sent = timeout(limit, reading.link.client.publish(taken.handle.reply.clone(), payload)).await;
    reading.deliveries.done(taken);
    match sent {
        Ok(Ok(())) => Settled::Settled,
        Ok(Err(_)) | Err(_) => Settled::Stale,
    }
}

/// Writes the dead letter, with its evidence.
async fn bury(
    reading: &Reading,
    message: &Message,
    attempt: u32,
    reason: &str,
    handle: &Handle,
) -> Result<(), Error> {
    let Reading { link, spec, .. } = reading;
    let origin = subject(&link.config.prefix, &spec.topic)?;
    let mut headers = to_wire(&clean(message.clone()));
    for (name, value) in [
        (DEAD_REASON, reason),
        (DEAD_TOPIC, spec.topic.as_str()),
        (DEAD_GROUP, &spec.group),
        (DEAD_ATTEMPTS, &attempt.to_string()),
        (DEAD_AT, &now().to_string()),
    ] {
        put(&mut headers, name, value);
    }
    // A crash before the acknowledgement brings the message again: its second letter is the same one.
    // Its own id is part of that, because a topic that was deleted and declared anew counts from the beginning.
    let id = format!("dlq:{}:{}:{}:{}", entity(&origin), handle.sequence, spec.group, message.id);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, entity(&id));
    let sent =
        send(link, &dead_subject(&origin, &spec.group), headers, message.payload.bytes().clone()).await;
    match sent {
        // Held for a duplicate, it is there already.
        Ok(Stored::Now | Stored::Before) => Ok(()),
        Err(error) => {
            Err(Error::new(ErrorKind::Retry, "NATS did not take the dead letter").with_source(error))
        }
    }
}

/// The message without what an earlier stay among the dead letters added, the adapter's own headers included.
pub(crate) fn clean(message: Message) -> Message {
    let mut message = message.without_dead_attributes();
    message.headers = message.headers.without(&[DEAD_ATTEMPTS, DEAD_AT]);
    message
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Gives deliveries back, to anyone of their group.
pub(crate) async fn give_back(reading: &Reading, mut handles: Vec<Handle>) {
    let link = &reading.link;
    // The server hands them out in the order in which it gets them back.
    handles.sort_by_key(|handle| handle.sequence);
    for (nth, handle) in handles.into_iter().enumerate() {
        // If it does not arrive, the acknowledgement wait gives them back.
        let _late_otherwise = link.client.publish(handle.reply, AckKind::Nak(None).into()).await;
        if nth == 0 && reading.spec.key_order {
            // The server finds that nobody listens for what this reader had asked for only when it has something to hand out, and then puts
            // that behind all others. Alone, it stays the first.
            let _late_otherwise = link.jetstream.query_account().await;
            tokio::time::sleep(LOOKED_WITHIN).await;
        }
    }
    let _late_otherwise = timeout(Duration::from_secs(1), link.client.flush()).await;
}

/// Says that deliveries are being worked on.
pub(crate) async fn prolong(reading: &Reading, handles: Vec<Handle>) {
    if handles.is_empty() {
        return;
    }
    let (link, begun) = (&reading.link, Instant::now());
    for handle in &handles {
        // What is not sent is not heard, which the next question shows.
        let _sent_or_not = link.client.publish(handle.reply.clone(), AckKind::Progress.into()).await;
    }
    // The server answers in the order in which it is asked: with this answer it has heard of all.
    if link.jetstream.query_account().await.is_ok() {
        handles.iter().for_each(|handle| handle.heard.again(begun, reading.ack_wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(200);

    #[test]
    fn a_word_that_came_in_time_counts_and_a_late_one_does_not() {
        let heard = Heard::now();
        assert!(heard.is_within(WAIT));
        std::thread::sleep(WAIT / 2);
        heard.again(Instant::now(), WAIT);
        std::thread::sleep(WAIT * 3 / 4);
        assert!(heard.is_within(WAIT), "it was prolonged");
        std::thread::sleep(WAIT);
        heard.again(Instant::now(), WAIT);
        assert!(!heard.is_within(WAIT), "it had been taken back before");
    }

    #[test]
    fn a_message_keeps_nothing_of_an_earlier_stay_among_the_dead_letters() {
        let topic = saga_core::Topic::new("orders").unwrap();
        let mut message = Message::new(topic, "7");
        message.headers = message.headers.with([
            ("color", "red"),
            (DEAD_REASON, "no"),
            (DEAD_ATTEMPTS, "3"),
            (DEAD_AT, "1970-01-01T00:00:00Z"),
        ]);
        let cleaned = clean(message.clone());
        let names: Vec<_> = cleaned.headers.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(
            (names, cleaned.id, cleaned.payload),
            (vec!["color".to_owned()], message.id, message.payload)
        );
    }
}
