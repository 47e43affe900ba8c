//! Settling: offsets, retries by way of a topic of their own, dead letters.

mod tracker;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use saga_core::adapter::Taken;
use saga_core::ports::{Disposition, Settled, Settlement};
use saga_core::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use saga_core::{Error, ErrorKind, Message};

pub(crate) use self::tracker::{Partition, Tracker};
use crate::names;
use crate::publish::send;
use crate::subscribe::{Handle, Reading};
use crate::wire::{ATTEMPT, DEAD_AT, DEAD_ATTEMPTS, NOT_BEFORE, to_wire};

/// How long a delivery waits whose copy could not be written.
const COPY_RETRY: Duration = Duration::from_secs(1);

pub(crate) async fn settle(reading: &Reading, batch: Vec<Settlement>) -> Vec<Settled> {
    join_all(batch.into_iter().map(|settlement| settle_one(reading, settlement))).await
}

async fn settle_one(reading: &Reading, settlement: Settlement) -> Settled {
    let Settlement { attempt, disposition, receipt, .. } = settlement;
    let Some(taken) = reading.deliveries.take(receipt) else { return Settled::Stale };
    let Handle { partition, epoch, .. } = taken.handle;
    if !reading.tracker().is_current(partition, epoch) {
        reading.deliveries.done(taken);
        return Settled::Stale;
    }
    let copied = match disposition {
        Disposition::Ack => return done(reading, taken),
        Disposition::Retry { after } if reading.spec.key_order => {
            reading.deliveries.again(taken, after);
            return Settled::Settled;
        }
        Disposition::Retry { after } => put_off(reading, &taken.handle.original, attempt, after).await,
        Disposition::DeadLetter { reason } => bury(reading, &taken.handle.original, attempt, &reason).await,
    };
    match copied {
        Ok(()) => done(reading, taken),
        Err(error) => {
            let message = &taken.handle.original;
            tracing::warn!(topic = %message.topic, id = %message.id, %error, "its copy is not written; the message comes again");
            reading.deliveries.again(taken, COPY_RETRY);
            Settled::Stale
        }
    }
}

fn done(reading: &Reading, taken: Taken<Handle>) -> Settled {
    let Handle { partition, epoch, offset, .. } = taken.handle;
    let is_settled = reading.tracker().settle(partition, epoch, offset);
    reading.deliveries.done(taken);
    if is_settled { Settled::Settled } else { Settled::Stale }
}

/// Writes a message to the topic of its group's retries.
async fn put_off(reading: &Reading, message: &Message, attempt: u32, after: Duration) -> Result<(), Error> {
    let topic = names::retry(&reading.topic, &reading.spec.group);
    let due = now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let own = [(ATTEMPT, attempt.saturating_add(1).to_string()), (NOT_BEFORE, due.to_string())];
    copy(reading, &topic, message, &own).await
}

/// Writes a message to the topic of its group's dead letters, with the evidence.
async fn bury(reading: &Reading, message: &Message, attempt: u32, reason: &str) -> Result<(), Error> {
    let topic = names::dead(&reading.topic, &reading.spec.group);
    let about =
        [(DEAD_REASON, reason), (DEAD_TOPIC, message.topic.as_str()), (DEAD_GROUP, &*reading.spec.group)];
    let mut letter = message.clone().without_dead_attributes();
    letter.headers = letter.headers.with(about);
    let own = [(DEAD_ATTEMPTS, attempt.to_string()), (DEAD_AT, now_ms().to_string())];
    copy(reading, &topic, &letter, &own).await
}

async fn copy(
    reading: &Reading,
    topic: &str,
    message: &Message,
    own: &[(&str, String)],
) -> Result<(), Error> {
    let own: Vec<_> = own.iter().map(|(name, value)| (*name, &**value)).collect();
    let key = message.key.as_deref().map(str::as_bytes);
    let sent = send(&reading.link, topic, key, to_wire(message, &own), message.payload.bytes()).await;
    let acked = match sent {
        Ok(sent) => sent.acked().await,
        Err(error) => Err(error),
    };
    acked.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("Kafka did not take a copy to {topic}")).with_source(error)
    })
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
