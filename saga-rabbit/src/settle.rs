//! Settling: acknowledgements, delayed retries, dead letters.

mod tags;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use saga_core::adapter::{Arrived, Taken};
use saga_core::ports::{Disposition, Settled, Settlement};
use saga_core::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use saga_core::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::tags::Tags;
use crate::names::TIERS_MS;
use crate::publish::{Outcome, Target, send};
use crate::subscribe::{Handle, Reading};
use crate::topology::{ensure_dead_letters, ensure_tier};
use crate::wire::{ATTEMPT, DEAD_AT, DEAD_ATTEMPTS, NOT_BEFORE, copy, now_ms};

/// How long a delivery waits whose copy could not be written.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A reason that is longer would not fit beside the other headers.
const REASON_BYTES_MAX: usize = 8 << 10;

/// Where the deliveries of one session are acknowledged.
#[derive(Clone)]
pub(crate) struct Desk(mpsc::UnboundedSender<Acks>);

impl Desk {
    pub(crate) const fn new(put: mpsc::UnboundedSender<Acks>) -> Self {
        Self(put)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// Acknowledges; returns whether it was in time.
    async fn acknowledge(&self, tags: Vec<u64>) -> bool {
        let (done, answer) = oneshot::channel();
        self.0.send(Acks { tags, done }).is_ok() && answer.await.unwrap_or(false)
    }
}

/// Deliveries to be acknowledged.
pub(crate) struct Acks {
    pub(crate) tags: Vec<u64>,
    done: oneshot::Sender<bool>,
}

impl Acks {
    pub(crate) fn answer(self, in_time: bool) {
        // Whoever settled may be gone.
        let _given_up = self.done.send(in_time);
    }
}

pub(crate) async fn settle(reading: &Reading, batch: Vec<Settlement>) -> Vec<Settled> {
    let mut answers = vec![Settled::Stale; batch.len()];
    let (mut done, mut copies) = (Vec::new(), Vec::new());
    for (nth, settlement) in batch.into_iter().enumerate() {
        let Settlement { attempt, disposition, receipt, .. } = settlement;
        let Some(taken) = reading.deliveries.take(receipt) else { continue };
        match disposition {
            Disposition::Ack => done.push((nth, taken)),
            Disposition::Retry { after } if reading.spec.key_order => {
                reading.deliveries.again(taken, after);
                answers[nth] = Settled::Settled;
            }
            Disposition::Retry { after } => copies.push((nth, taken, attempt, Copy::Retry { after })),
            Disposition::DeadLetter { reason } => copies.push((nth, taken, attempt, Copy::Dead { reason })),
        }
    }
    // What is only acknowledged does not wait for what is written first.
    let (acked, copied) = join(acknowledge(reading, done), copy_and_acknowledge(reading, copies)).await;
    for (nth, answer) in acked.into_iter().chain(copied) {
        answers[nth] = answer;
    }
    answers
}

type Numbered = (usize, Taken<Handle>);

/// What is written before a delivery is acknowledged.
enum Copy {
    Retry { after: Duration },
    Dead { reason: String },
}

async fn copy_and_acknowledge(
    reading: &Reading,
    copies: Vec<(usize, Taken<Handle>, u32, Copy)>,
) -> Vec<(usize, Settled)> {
    let written = copies.into_iter().map(|(nth, taken, attempt, what)| async move {
        let written = match what {
            Copy::Retry { after } => retry(reading, &taken.handle, attempt, after).await,
            Copy::Dead { reason } => bury(reading, &taken.handle, attempt, &reason).await,
        };
        match written {
            Ok(()) => Some((nth, taken)),
            Err(error) => {
                let spec = &reading.spec;
                tracing::warn!(topic = %spec.topic, id = %taken.handle.id, %error, "the copy is not written; the message comes again");
                reading.deliveries.again(taken, AGAIN_AFTER);
                None
            }
        }
    });
    let written = join_all(written).await.into_iter().flatten().collect();
    acknowledge(reading, written).await
}

async fn acknowledge(reading: &Reading, mut batch: Vec<Numbered>) -> Vec<(usize, Settled)> {
    let mut answers = Vec::with_capacity(batch.len());
    // All of one session, but for a batch that was taken across the end of one.
    while let Some((_, first)) = batch.first() {
        let desk = first.handle.desk.clone();
        let (here, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|(_, taken)| taken.handle.desk.is(&desk));
        batch = rest;
        let tags = here.iter().map(|(_, taken)| taken.handle.tag).collect();
        let settled = if desk.acknowledge(tags).await { Settled::Settled } else { Settled::Stale };
        for (nth, taken) in here {
            reading.deliveries.done(taken);
            answers.push((nth, settled));
        }
    }
    answers
}

/// Writes the message to where it waits for its next attempt.
async fn retry(reading: &Reading, handle: &Handle, attempt: u32, after: Duration) -> Result<(), Error> {
    let due = now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    wait_for(reading, handle, attempt.saturating_add(1), due).await
}

/// Writes the message to the longest tier that is not longer than it has to wait; where less than the shortest is left, to its queue, where it
/// is held until it is due.
async fn wait_for(reading: &Reading, handle: &Handle, attempt: u32, due_ms: u64) -> Result<(), Error> {
    let (attempt, due) = (attempt.to_string(), due_ms.to_string());
    let added = [(ATTEMPT, &*attempt), (NOT_BEFORE, &*due)];
    let properties = copy(&handle.properties, &handle.id, &added);
    let to = match tier(due_ms.saturating_sub(now_ms())) {
        None => reading.queue.clone(),
        Some(tier_ms) => {
            let tier = reading.name.retry(tier_ms);
            if !reading.has_tier(tier_ms) {
                ensure_tier(&reading.link, &reading.name, &reading.queue, tier_ms).await?;
                reading.found_tier(tier_ms, true);
            }
            tier
        }
    };
    let sent = send(&reading.link, Target::queue(to), properties, handle.payload.clone()).await;
    if let Outcome::Returned = sent {
        // Somebody has deleted it since.
        TIERS_MS.iter().for_each(|tier_ms| reading.found_tier(*tier_ms, false));
    }
    written(sent, "a message that is to be tried again")
}

/// A message has come out of one tier before it is due: it waits for the rest in others.
pub(crate) async fn wait_on(reading: Arc<Reading>, arrived: Arrived<Handle>, due_ms: u64) {
    let Handle { tag, desk, .. } = &arrived.handle;
    match wait_for(&reading, &arrived.handle, arrived.attempt, due_ms).await {
        Ok(()) => {
            // If the session has ended, it comes twice.
            let _twice_otherwise = desk.acknowledge(vec![*tag]).await;
        }
        Err(error) => {
            tracing::debug!(topic = %reading.spec.topic, %error, "a message waits here for its retry");
            let wait = Duration::from_millis(due_ms.saturating_sub(now_ms()));
            reading.deliveries.arrived_early(arrived, Instant::now() + wait);
        }
    }
}

/// Whether so long a wait is spent at the server.
pub(crate) fn is_long(wait_ms: u64) -> bool {
    tier(wait_ms).is_some()
}

/// The longest tier that is not longer than this.
fn tier(wait_ms: u64) -> Option<u64> {
    TIERS_MS.into_iter().find(|tier_ms| *tier_ms <= wait_ms)
}

/// Writes the dead letter, with its evidence.
async fn bury(reading: &Reading, handle: &Handle, attempt: u32, reason: &str) -> Result<(), Error> {
    let Reading { link, spec, kind, .. } = reading;
    let (attempts, at) = (attempt.to_string(), now_ms().to_string());
    let added = [
        (DEAD_REASON, shortened(reason)),
        (DEAD_TOPIC, spec.topic.as_str()),
        (DEAD_GROUP, &spec.group),
        (DEAD_ATTEMPTS, &attempts),
        (DEAD_AT, &at),
    ];
    let properties = copy(&handle.properties, &handle.id, &added);
    let sent = send(link, Target::queue(reading.name.dead()), properties, handle.payload.clone()).await;
    if let Outcome::Returned = sent {
        // Its place was deleted; the next attempt finds it.
        ensure_dead_letters(link, &spec.topic, *kind, &spec.group).await?;
    }
    written(sent, "the dead letter")
}

fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

fn written(sent: Outcome, what: &str) -> Result<(), Error> {
    let not_written = || Error::new(ErrorKind::Retry, format!("RabbitMQ did not take {what}"));
    match sent {
        Outcome::Acked => Ok(()),
        Outcome::Returned => Err(not_written().with_source("its queue is not there")),
        Outcome::Refused => Err(not_written().with_source("its queue has no room")),
        Outcome::Late => Err(not_written().with_source("there was no answer in time")),
        Outcome::Failed(error) => Err(not_written().with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_put_together_from_tiers_and_never_ends_early() {
        assert_eq!([tier(0), tier(249), tier(250), tier(999)], [None, None, Some(250), Some(250)]);
        assert_eq!(tier(u64::MAX), Some(600_000));
        let mut left = 6_300;
        let mut hops = Vec::new();
        while let Some(tier_ms) = tier(left) {
            left -= tier_ms;
            hops.push(tier_ms);
        }
        assert_eq!((hops, left), (vec![5_000, 1_000, 250], 50));
        assert!(is_long(250) && !is_long(249), "a short wait is spent here");
    }

    #[test]
    fn a_reason_is_cut_where_it_would_not_fit_and_never_inside_a_character() {
        assert_eq!(shortened("no"), "no");
        let long = format!("{}\u{e9}\u{e9}", "x".repeat(REASON_BYTES_MAX - 1));
        assert_eq!(shortened(&long), "x".repeat(8_191));
        assert_eq!(shortened(&"x".repeat(9_000)).len(), 8_192);
    }

    #[test]
    fn only_what_the_server_took_is_written() {
        written(Outcome::Acked, "it").unwrap();
        for lost in [Outcome::Returned, Outcome::Refused, Outcome::Late] {
            assert_eq!(written(lost, "it").unwrap_err().kind(), ErrorKind::Retry);
        }
    }

    #[tokio::test]
    async fn an_acknowledgement_is_in_time_if_its_session_says_so() {
        let (put, mut acks) = mpsc::unbounded_channel();
        let desk = Desk::new(put);
        for in_time in [true, false] {
            let session = async {
                let asked: Acks = acks.recv().await.unwrap();
                assert_eq!(asked.tags, [7]);
                asked.answer(in_time);
            };
            assert_eq!(join(desk.acknowledge(vec![7]), session).await.0, in_time);
        }
        let ends_unanswered = async { drop(acks.recv().await) };
        assert!(!join(desk.acknowledge(vec![7]), ends_unanswered).await.0);
        drop(acks);
        assert!(!desk.acknowledge(vec![7]).await, "the session has ended");
        let other = Desk::new(mpsc::unbounded_channel().0);
        assert!(desk.is(&desk.clone()) && !desk.is(&other));
    }
}
