//! Reading sagas from the log, and inputs for those that cannot be decided here: absent, pruned, of an unknown definition, corrupt.

use std::sync::Arc;

use super::engine::{Engine, Happening, RETRY_DELAY, Shared};
use super::input::{Decided, Input};
use super::sagas::{CancelAnswer, StartError, Started};
use crate::error::{Error, ErrorKind};
use crate::machine::{Instance, input_digest};
use crate::ports::{Append, Record, StoredSaga, Tombstone};
use crate::record::{Entry, Fact, SagaKey, Status, Timestamp};

/// What the log said of each saga.
pub(super) struct Loaded {
    keys: Vec<SagaKey>,
    records: Vec<Result<Option<Record>, Error>>,
}

impl Engine {
    pub(super) fn load_queued(&mut self) {
        if self.to_load.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.to_load);
        let log = Arc::clone(&self.shared.log);
        self.push_awaited(async move {
            let records = log.load(&keys).await;
            Happening::Loaded(Loaded { keys, records })
        });
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        self.under_way -= 1;
        let mut failed = Vec::new();
        for (key, record) in loaded.keys.into_iter().zip(loaded.records) {
            match record {
                Ok(None) => self.absent(&key),
                Ok(Some(Record::Tombstone(tombstone))) => self.pruned(&key, &tombstone),
                Ok(Some(Record::Stored(stored))) => self.stored(&key, stored),
                Err(error) if error.kind() == ErrorKind::Corrupt => self.unreadable(&key, &error),
                Err(error) => {
                    tracing::warn!(saga = %key.saga, id = %key.id, %error, "cannot read the saga; trying on");
                    failed.push(key);
                }
            }
        }
        self.again_later(failed);
    }

    /// After a while, these are decided anew.
    pub(super) fn again_later(&mut self, keys: Vec<SagaKey>) {
        if keys.is_empty() {
            return;
        }
        let clock = Arc::clone(&self.shared.clock);
        self.push(async move {
            clock.sleep(RETRY_DELAY).await;
            Happening::Again(keys)
        });
    }

    fn stored(&mut self, key: &SagaKey, stored: StoredSaga) {
        let Some(definition) = self.shared.registry.pinned(&stored.definition) else {
            return self.hold(key, stored, None);
        };
        match Instance::replay(Arc::clone(definition), &stored.entries) {
            Ok(instance) => {
                let now = self.now();
                let slot = self.slots.get_mut(key).expect("a slot being loaded stays");
                // Only the log's wake tells whose the saga was. It may have been that of a coordinator that is gone, and what it owes unsent.
                let is_woken = slot.inputs.iter().any(
                    |input| matches!(input, Input::Wake { read_until, .. } if *read_until > Timestamp::default()),
                );
                let is_due = stored.wake_at.is_some_and(|at| at <= self.tenure.on_the_logs_clock(now));
                slot.is_unpublished |= is_due || slot.inputs.iter().any(Input::performs_anew);
                slot.is_unsure = !slot.is_unpublished;
                slot.performed_at = now;
                if !is_woken {
                    self.shared.others.met(self.shared.clock.now());
                    slot.deadlines_from = now.after(self.shared.options.deadline_slack);
                    // Another coordinator's, whose room it leaves: without that, what goes from one to the other would count nowhere.
                    let is_under_way = matches!(instance.status(), Status::Running | Status::Unwinding);
                    self.admitted += usize::from(is_under_way && !slot.is_admitted);
                    slot.is_admitted |= is_under_way;
                }
                slot.instance = Some(Box::new(instance));
                slot.is_busy = false;
                self.enqueue(key);
            }
            Err(corrupt) => {
                tracing::error!(saga = %key.saga, id = %key.id, run = %stored.run, %corrupt, "parked: its record is corrupt");
                self.hold(key, stored, Some(corrupt.to_string()));
            }
        }
    }

    /// Keeps the inputs in the log: for a coordinator that knows the definition, or, of a corrupt record, for whoever mends it.
    fn hold(&mut self, key: &SagaKey, stored: StoredSaga, corrupt: Option<String>) {
        let now = self.now();
        let slot = self.slots.get_mut(key).expect("a slot being loaded stays");
        let mut entries = Vec::new();
        for input in slot.inputs.drain(..) {
            self.woken -= usize::from(matches!(input, Input::Wake { .. }));
            let held = input.to_held(stored.run);
            let decided = match &input {
                Input::Start(start) => started_before(&stored, start),
                Input::Operate(_) => Decided::Refused(Error::new(
                    ErrorKind::NotFound,
                    match &corrupt {
                        Some(problem) => format!("saga {key} cannot be read: {problem}"),
                        None => format!(
                            "saga {key} is pinned to {}, which is not registered here",
                            stored.definition
                        ),
                    },
                )),
                Input::Cancel(_) if stored.status.is_ended() => {
                    Decided::Cancel(CancelAnswer::TooLate(stored.status))
                }
                Input::Cancel(_) => Decided::Cancel(CancelAnswer::Cancelling),
                Input::Reply(_) | Input::Wake { .. } | Input::Await(_) | Input::Did { .. } => Decided::Done,
            };
            entries.extend(held.map(|input| Entry { at: now, fact: Fact::Held { input } }));
            slot.pending.inputs.push((input, decided));
        }
        let is_corrupt = corrupt.is_some();
        if let Some(problem) = corrupt.filter(|_| stored.status != Status::Parked) {
            let reason = format!("its record is corrupt: {problem}").into();
            entries.push(Entry { at: now, fact: Fact::Parked { reason } });
        }
        slot.pending.append = Some(Box::new(Append {
            key: key.clone(),
            run: stored.run,
            definition: stored.definition,
            expected: stored.version,
            wake_at: if is_corrupt {
                None
            } else if entries.is_empty() {
                stored.wake_at
            } else {
                Some(self.tenure.on_the_logs_clock(now))
            },
            entries,
            status: if is_corrupt { Status::Parked } else { stored.status },
            owner: None,
            settled: None,
        }));
        self.hurry(key.clone());
    }

    /// The log has no such saga: a start may begin it; everything else has come to the wrong place.
    fn absent(&mut self, key: &SagaKey) {
        self.taken_over.settle(key);
        let slot = self.slots.get_mut(key).expect("a slot being loaded stays");
        slot.is_busy = false;
        let starts = slot.inputs.iter().position(|input| matches!(input, Input::Start(_)));
        let early = slot.inputs.drain(..starts.unwrap_or(slot.inputs.len())).collect::<Vec<_>>();
        slot.is_unread = starts.is_some();
        for input in early {
            let unknown = Error::new(ErrorKind::NotFound, format!("there is no saga {key}"));
            self.conclude(input, Decided::Refused(unknown));
        }
        if starts.is_some() {
            self.enqueue(key);
        } else {
            self.remove(key);
        }
    }

    /// Only a tombstone is left: the saga has ended, and everything that still comes is late.
    fn pruned(&mut self, key: &SagaKey, tombstone: &Tombstone) {
        self.taken_over.settle(key);
        let status = Status::from(tombstone.ending);
        let inputs = std::mem::take(&mut self.slots.get_mut(key).expect("a slot being loaded stays").inputs);
        for input in inputs {
            let decided = match &input {
                Input::Start(start) if input_digest(&start.input) == tombstone.input_digest => {
                    Decided::Started(Started { run: tombstone.run, is_new: false, status })
                }
                Input::Start(_) => Decided::NotStarted(StartError::InputDiffers { run: tombstone.run }),
                Input::Cancel(_) => Decided::Cancel(CancelAnswer::TooLate(status)),
                Input::Operate(_) => Decided::Refused(Error::new(
                    ErrorKind::NotAllowed,
                    format!("saga {key} has ended: {status}"),
                )),
                Input::Reply(_) | Input::Wake { .. } | Input::Await(_) | Input::Did { .. } => Decided::Done,
            };
            self.conclude(input, decided);
        }
        self.remove(key);
    }

    /// The log itself cannot read its record.
    fn unreadable(&mut self, key: &SagaKey, error: &Error) {
        self.taken_over.settle(key);
        tracing::error!(saga = %key.saga, id = %key.id, %error, "the saga's record cannot be read");
        let inputs = std::mem::take(&mut self.slots.get_mut(key).expect("a slot being loaded stays").inputs);
        for input in inputs {
            let refused = Error::new(ErrorKind::Corrupt, format!("saga {key} cannot be read: {error}"));
            self.conclude(input, Decided::Refused(refused));
        }
        self.remove(key);
        // It stays due, since nothing can be appended to it: without a pause it would be read for ever.
        let again_at = self.now().after(self.shared.options.report_interval);
        self.unreadable.insert(key.clone(), again_at);
    }

    /// Tells a decision that needs no append.
    fn conclude(&mut self, input: Input, decided: Decided) {
        self.woken -= usize::from(matches!(input, Input::Wake { .. }));
        self.to_settle.extend(input.conclude(decided));
    }
}

/// Tells the log what the definitions look like. Nothing depends on it but tools.
pub(super) async fn describe(shared: &Shared) {
    let outlines: Vec<_> = shared.registry.all().map(|known| known.outline()).collect();
    if let Err(error) = shared.log.describe(&outlines).await {
        tracing::warn!(%error, "the saga log keeps no outline of the definitions; tools will not know their steps");
    }
}

/// A repeated start of a saga whose definition is not registered here.
fn started_before(stored: &StoredSaga, start: &super::input::StartInput) -> Decided {
    match stored.entries.first().map(|entry| &entry.fact) {
        Some(Fact::Started { input, .. }) if *input == start.input => {
            Decided::Started(Started { run: stored.run, is_new: false, status: stored.status })
        }
        _ => Decided::NotStarted(StartError::InputDiffers { run: stored.run }),
    }
}
