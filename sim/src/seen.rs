//! What an observer sees who sees everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use saga_core::ports::Append;
use saga_core::record::{DefinitionRef, Entry, MessageId, RunId, SagaKey, Status, Timestamp, Topic};
use saga_core::wire::attributes;
use saga_core::{Ended, Ending, Message};
use tokio::time::Instant;

use crate::coverage::Sight;
use crate::laws::Law;
use crate::process::Process;
use crate::sights;
use crate::world::{World, lock};

/// What was seen of the sagas.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) records: BTreeMap<SagaKey, Recorded>,
    pub(crate) calls: BTreeMap<RunId, Vec<(MessageId, Ending)>>,
    /// How many copies of each message there are that are not settled.
    pub(crate) copies: BTreeMap<MessageId, u32>,
    /// Replies on the bus that nobody has been given yet, and since when.
    pub(crate) unread: BTreeMap<MessageId, Timestamp>,
    /// What nobody can read, and where it was sent.
    pub(crate) litter: Vec<(Topic, MessageId)>,
    /// Announcements that were published, or may have been.
    pub(crate) announced: BTreeSet<MessageId>,
    /// Sagas whose callers were told that they are being undone.
    pub(crate) cancelling: BTreeSet<SagaKey>,
    pub(crate) ended: BTreeSet<RunId>,
    pub(crate) saga_time: Duration,
}

/// A saga as it was appended.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) run: RunId,
    pub(crate) definition: DefinitionRef,
    pub(crate) entries: Vec<Entry>,
    pub(crate) status: Status,
    begun: Instant,
    /// The slot and the life of the process that appended last.
    by: (usize, u64),
    /// When that process went on with what a dead one had left.
    pub(crate) taken_over_at: Option<Instant>,
}

impl World {
    /// A copy of a message was settled for good. Says whether it was the last.
    pub(crate) fn copy_is_gone(&self, id: &MessageId) -> bool {
        let mut seen = lock(&self.seen);
        let copies = seen.copies.entry(id.clone()).or_default();
        *copies = copies.saturating_sub(1);
        *copies == 0
    }

    /// Sees a delivery.
    pub(crate) fn delivered(&self, who: &str, message: &Message, attempt: u32) {
        self.trace.say(who, || format!("receives {} attempt {attempt}", message.id));
        let mut seen = lock(&self.seen);
        seen.unread.remove(&message.id);
        let run = message.headers.get(attributes::RUN).and_then(|run| run.parse().ok());
        if run.is_some_and(|run: RunId| seen.ended.contains(&run)) {
            self.coverage.sight(Sight::LateArrival);
        }
    }

    /// Sees a dead letter. Commands are put there as evidence; nothing else may be.
    pub(crate) fn buried(&self, message: &Message, reason: &str) {
        let is_command = message.headers.get(attributes::TYPE) == Some("saga.command");
        let is_late_cancel = message.topic.as_str().ends_with(".cancelled");
        let is_garbage = message.id.as_str().starts_with("garbage");
        if !is_command && !is_late_cancel && !is_garbage {
            let how = format!("{} of {}: {reason}", message.id, message.topic);
            self.breaks(Law::NothingDropped.broken(how));
        }
    }

    /// Sees a callback, and says which of its run it is, from 0.
    pub(crate) fn called(&self, who: &str, ended: &Ended, is_numbered: bool) -> usize {
        self.trace.say(who, || format!("calls back {}: {}", ended.id, ended.ending));
        let mut seen = lock(&self.seen);
        let is_recorded = seen
            .records
            .get(&ended.key)
            .is_some_and(|record| record.run == ended.run && record.status == Status::from(ended.ending));
        let calls = seen.calls.entry(ended.run).or_default();
        let nth = calls.len();
        let id = if is_numbered { MessageId::new(format!("{}/{nth}", ended.id)) } else { ended.id.clone() };
        let is_same = calls.iter().all(|call| *call == (id.clone(), ended.ending));
        calls.push((id, ended.ending));
        drop(seen);
        if nth > 0 {
            self.coverage.sight(Sight::CalledAgain);
        }
        if !is_recorded || !is_same {
            let how = format!("{}: called {} with id {}", ended.key, ended.ending, ended.id);
            self.breaks(Law::OneCallback.broken(how));
        }
        nth
    }

    /// Sees an append that took effect.
    pub(crate) fn appended(&self, by: &Process, append: &Append) {
        self.trace.say(&by.name, || {
            let facts: Vec<_> = append.entries.iter().map(|entry| format!("{:?}", entry.fact)).collect();
            format!("APPENDS {} at {} {}: {}", append.key, append.expected, append.status, facts.join("; "))
        });
        let mut seen = lock(&self.seen);
        let record = seen.records.entry(append.key.clone()).or_insert_with(|| Recorded {
            run: append.run,
            definition: append.definition.clone(),
            entries: Vec::new(),
            status: append.status,
            begun: Instant::now(),
            by: (by.slot, by.life),
            taken_over_at: None,
        });
        record.entries.extend(append.entries.iter().cloned());
        record.status = append.status;
        let me = (by.slot, by.life);
        if record.by != me {
            let (slot, life) = record.by;
            let is_alive =
                self.process(slot).is_some_and(|process| process.life == life && !process.is_dead());
            record.taken_over_at = (!is_alive).then(Instant::now);
            record.by = me;
        }
        let age = record.begun.elapsed();
        if append.status.is_ended() && seen.ended.insert(append.run) {
            seen.saga_time += age;
        }
        drop(seen);
        sights::see(self, append);
    }

    /// How many sagas have been started and have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        lock(&self.seen).records.values().filter(|record| !record.status.is_ended()).count()
    }
}
