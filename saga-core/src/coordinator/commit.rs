//! Group commit: what was decided about many sagas goes to the log at once.

use std::sync::Arc;

use super::dispatch::Batch;
use super::engine::{Engine, Happening};
use super::input::Input;
use super::outcome::Outcome;
use super::slot::Pending;
use crate::error::Error;
use crate::ports::{AppendError, Version};
use crate::record::{Fact, RunId, SagaKey, Status};

/// What became of a group commit.
pub(super) struct Appended {
    keys: Vec<SagaKey>,
    results: Vec<Result<Version, AppendError>>,
}

impl Engine {
    /// Commits what there is, unless a commit is under way: then what comes until it ends goes together.
    pub(super) fn commit(&mut self) {
        if self.to_append.is_empty() || self.is_appending {
            return;
        }
        let count = self.to_append.len().min(self.shared.options.append_batch_max);
        let (mut keys, mut batch) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for key in self.to_append.drain(..count) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if let Some(append) = slot.pending.append.take() {
                slot.is_busy = true;
                batch.push(*append);
                keys.push(key);
            }
        }
        if batch.is_empty() {
            return;
        }
        let log = Arc::clone(&self.shared.log);
        self.is_appending = true;
        self.push_awaited(async move {
            let results = log.append(batch).await;
            Happening::Appended(Appended { keys, results })
        });
    }

    pub(super) fn appended(&mut self, appended: Appended) {
        self.under_way -= 1;
        self.is_appending = false;
        // The log is not kept waiting for the consequences.
        self.decide_queued();
        self.commit();
        let mut batch = Batch::default();
        let mut failed = Vec::new();
        for (key, result) in appended.keys.into_iter().zip(appended.results) {
            match result {
                Ok(_) => self.durable(key, &mut batch),
                Err(AppendError::Conflict) => {
                    tracing::debug!(saga = %key.saga, id = %key.id, "someone else was first; deciding anew");
                    self.shared.others.met(self.shared.clock.now());
                    self.forget(&key);
                    self.let_go(&key);
                }
                Err(AppendError::Unknown(error) | AppendError::Failed(error)) => {
                    self.not_durable(&key, &error);
                    failed.push(key);
                }
            }
        }
        self.perform(batch);
        self.again_later(failed);
    }

    fn not_durable(&mut self, key: &SagaKey, error: &Error) {
        tracing::warn!(saga = %key.saga, id = %key.id, %error, "cannot append; reading and deciding anew");
        self.forget(key);
        // It may be there after all, with nothing performed of what it owes.
        self.slots.get_mut(key).expect("a slot being appended stays").is_unpublished = true;
    }

    /// What was thought of a saga is void. It no longer counts as admitted here: it may be another coordinator's by now.
    fn forget(&mut self, key: &SagaKey) {
        let slot = self.slots.get_mut(key).expect("a slot being appended stays");
        slot.forget();
        self.admitted -= usize::from(std::mem::take(&mut slot.is_admitted));
    }

    /// An append, or the delay after one or a load that failed, is over: on with the next inputs, or, of a saga that is not in memory, with nothing.
    pub(super) fn let_go(&mut self, key: &SagaKey) {
        let slot = self.slots.get_mut(key).expect("a slot being appended stays");
        slot.is_busy = false;
        if slot.instance.is_none() && slot.is_idle() {
            self.remove(key);
        } else {
            self.enqueue(key);
        }
    }

    /// The saga's entries are durable: now they may have consequences.
    fn durable(&mut self, key: SagaKey, batch: &mut Batch) {
        self.taken_over.settle(&key);
        let slot = self.slots.get_mut(&key).expect("a slot being appended stays");
        let Pending { inputs, effects, is_all, is_first, alerts, .. } = std::mem::take(&mut slot.pending);
        for (mut input, decided) in inputs {
            if let Input::Start(start) = &mut input {
                slot.waiters.extend(start.waiter.take());
            }
            batch.settlings.extend(input.conclude(decided));
        }
        let Some(instance) = &slot.instance else {
            // It was held for someone who knows its definition.
            return self.let_go(&key);
        };
        slot.is_unsure &= !is_all;
        let status = instance.status();
        if !matches!(status, Status::Running | Status::Unwinding) {
            let waiters = std::mem::take(&mut slot.waiters);
            if let Some(outcome) = Outcome::of(instance).filter(|_| !waiters.is_empty()) {
                for waiter in waiters {
                    let _gone = waiter.send(outcome.clone());
                }
            }
            // A parked saga waits for people: it must not keep others from starting.
            self.admitted -= usize::from(std::mem::take(&mut slot.is_admitted));
        }
        let run = instance.run();
        for fact in alerts {
            alert(&key, run, &fact);
        }
        let is_settled = instance.settled().is_some();
        for effect in effects {
            self.owe(&key, effect, is_first, batch);
        }
        if is_settled && self.slots[&key].inputs.is_empty() {
            self.remove(&key);
        } else {
            self.let_go(&key);
        }
    }
}

/// Says what needs somebody's attention.
fn alert(key: &SagaKey, run: RunId, fact: &Fact) {
    match fact {
        Fact::Parked { reason } => {
            tracing::warn!(saga = %key.saga, id = %key.id, %run, %reason, "parked: an operator is needed");
        }
        Fact::Overdue => {
            tracing::warn!(saga = %key.saga, id = %key.id, %run, "past its deadline, and past the point of no return");
        }
        _ => {}
    }
}
