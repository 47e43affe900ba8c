//! The one way to wake: the log says which sagas are due, its own and those of coordinators that are gone. That is the timeout, the
//! resend, the recovery after a crash and the take-over, in one.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Happening};
use super::input::Input;
use super::taken_over::TakenOver;
use super::tenure::Tenure;
use crate::error::{Error, ErrorKind};
use crate::ports::{Subscription, Woken};
use crate::record::{SagaKey, Status, Timestamp};

/// While so many batches are being published, the log is not asked for more due sagas at once: the bus does not take them that fast.
const PUBLISHES_IN_FLIGHT_MAX: usize = 4;

/// How long a saga may be silent before its version is verified, when somebody waits for it.
const VERIFY_AFTER: Duration = Duration::from_secs(1);

/// When to ask the log for due sagas again.
#[derive(Debug, Default)]
pub(super) struct Poll {
    /// It has answered, and was not asked since.
    is_due: bool,
    /// Its answer was as large as it may be: more sagas may be due.
    is_more_due: bool,
    /// Those that it named then. They come first.
    woken_first: Vec<SagaKey>,
}

/// What the log said is due.
pub(super) struct Polled {
    woken: Result<Vec<Woken>, Error>,
    /// Replies published up to then have been read.
    read_until: Timestamp,
}

impl Engine {
    /// Asks the log for due sagas after `delay`.
    pub(super) fn poll_soon(&mut self, delay: Duration) {
        let shared = Arc::clone(&self.shared);
        let (owner, epoch) = self.tenure.owner();
        let replies = self.readers.iter().filter(|reader| reader.reads_replies());
        let replies: Vec<_> = replies.map(|reader| Arc::clone(&reader.subscription)).collect();
        self.push(async move {
            shared.clock.sleep(delay).await;
            let definitions: Vec<_> = shared.registry.all().map(|known| known.id.clone()).collect();
            let max = shared.options.wake_batch_max;
            let woken = shared.log.wake(&owner, epoch, &definitions, max).await;
            let anyone = woken.as_ref().is_ok_and(|woken| !woken.is_empty());
            let read_until = if anyone {
                read_until(&replies, shared.options.deadline_slack).await
            } else {
                Timestamp::MAX
            };
            Happening::Polled(Polled { woken, read_until })
        });
    }

    pub(super) fn polled(&mut self, polled: Polled) {
        match polled.woken {
            Ok(woken) => {
                let (now, read_until) = (self.now(), polled.read_until);
                self.unreadable.retain(|_, again_at| now < *again_at);
                let max = self.shared.options.wake_batch_max;
                let is_all = woken.len() < max;
                let readable = woken.into_iter().filter(|woken| !self.unreadable.contains_key(&woken.key));
                let readable: Vec<_> = readable.collect();
                // What cannot be read stays due: it is no reason to hurry.
                self.poll.is_more_due = readable.len() == max;
                if self.poll.is_more_due {
                    self.poll.woken_first = readable.iter().map(|woken| woken.key.clone()).collect();
                }
                for woken in readable {
                    let slot = self.slots.get(&woken.key);
                    let is_in_memory = slot.is_some_and(|slot| slot.instance.is_some());
                    let taken_over = self.taken_over.note(&woken, is_in_memory);
                    self.wakes.push((woken.key, Input::Wake { taken_over, read_until }));
                }
                self.taken_over.is_in_doubt &= !is_all;
            }
            // The renewal of the lease deals with it.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => {
                tracing::warn!(%error, "cannot ask the saga log for what is due; trying on");
                self.taken_over.is_in_doubt = true;
            }
        }
        self.verify_silent();
        self.poll.is_due = true;
    }

    /// Looks whether silent sagas are still ours, where somebody waits for that: another coordinator that was given a reply has gone on with
    /// its saga, and nobody told us. Starts wait for the room that such a saga takes; callers wait for its outcome.
    fn verify_silent(&mut self) {
        let now = self.now();
        // What has come in just now is let in after this, if there is room.
        let starts_wait = !self.admission.is_empty() && self.room() == 0;
        let callers_wait = now.since(self.verified_at) >= self.shared.options.outcome_poll_interval;
        if !starts_wait && !callers_wait {
            return;
        }
        if callers_wait {
            self.verified_at = now;
        }
        let silent = self.slots.iter().filter(|(_, slot)| {
            let is_waited_for = starts_wait && slot.is_admitted || callers_wait && !slot.waiters.is_empty();
            is_waited_for && slot.is_quiet() && now.since(slot.performed_at) >= VERIFY_AFTER
        });
        let keys: Vec<_> =
            silent.map(|(key, _)| key.clone()).take(self.shared.options.wake_batch_max).collect();
        // A wake that finds nothing to do is an append without entries, which fails where somebody else was first. No deadline fires by it.
        let wake = || Input::Wake { taken_over: false, read_until: Timestamp::default() };
        self.wakes.extend(keys.into_iter().map(|key| (key, wake())));
    }

    /// Hands the woken sagas their wake, after everything else that has come in; asks again once all are dealt with.
    pub(super) fn wake(&mut self) {
        for (key, input) in std::mem::take(&mut self.wakes) {
            self.woken += 1;
            self.input(key, input);
        }
        if self.poll.is_due && self.woken == 0 && !self.is_draining && self.are_woken_first_appended() {
            self.poll.is_due = false;
            // After a restart many are due.
            let hurries = std::mem::take(&mut self.poll.is_more_due);
            let hurries = hurries && self.publishes_in_flight < PUBLISHES_IN_FLIGHT_MAX;
            self.poll_soon(if hurries { Duration::ZERO } else { self.shared.options.wake_interval });
        }
    }

    /// Asked before that, the log would name them again.
    fn are_woken_first_appended(&mut self) -> bool {
        while let Some(key) = self.poll.woken_first.last() {
            if self.slots.get(key).is_some_and(|slot| !slot.is_durable()) {
                return false;
            }
            self.poll.woken_first.pop();
        }
        true
    }

    pub(super) fn renew_later(&mut self) {
        let shared = Arc::clone(&self.shared);
        let tenure = self.tenure.clone();
        self.push(async move {
            shared.clock.sleep(shared.options.lease_ttl / 3).await;
            Happening::Renewed(tenure.renew(&shared).await)
        });
    }

    pub(super) fn renewed(&mut self, renewed: Result<Tenure, Error>) {
        match renewed {
            Ok(tenure) => {
                let is_new = tenure.epoch() != self.tenure.epoch();
                self.tenure = tenure;
                if is_new {
                    // The log says again whose sagas they were.
                    self.taken_over = TakenOver::default();
                    self.forget_idle();
                }
            }
            Err(error) => tracing::warn!(%error, "cannot renew the lease; trying on"),
        }
        self.renew_later();
    }

    /// Others may have gone on with our sagas: what is in memory is not to be trusted.
    fn forget_idle(&mut self) {
        let mut undecided = Vec::new();
        for (key, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.is_busy) {
            slot.forget();
            slot.is_unpublished = true;
            if !slot.inputs.is_empty() {
                undecided.push(key.clone());
            }
        }
        undecided.iter().for_each(|key| self.enqueue(key));
    }

    /// Says which sagas nobody here can go on with.
    pub(super) fn report_now(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.push(async move {
            match shared.log.census().await {
                Ok(lines) => lines.iter().filter(|line| !line.status.is_ended()).for_each(|line| {
                    if shared.registry.pinned(&line.definition).is_none() {
                        tracing::warn!(definition = %line.definition, status = %line.status, count = line.count, "sagas of a definition that is not registered here; they wait for a coordinator that has it");
                    } else if line.status == Status::Parked {
                        tracing::warn!(definition = %line.definition, count = line.count, "parked sagas wait for an operator");
                    }
                }),
                Err(error) => tracing::warn!(%error, "cannot count the sagas in the log"),
            }
            Happening::Reported
        });
    }

    pub(super) fn report_later(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.push(async move {
            shared.clock.sleep(shared.options.report_interval).await;
            Happening::ReportDue
        });
    }
}

/// Up to when replies have been read: to the end, if none waits. A bus that cannot tell how old the waiting ones are holds up all
/// deadlines until they are read.
async fn read_until(replies: &[Arc<dyn Subscription>], slack: Duration) -> Timestamp {
    let mut until = Timestamp::MAX;
    for subscription in replies {
        until = until.min(match subscription.lag().await {
            Ok(lag) if lag.ready == 0 => Timestamp::MAX,
            // The bus and the log may not agree on the time; the slack is for that.
            Ok(lag) => lag.oldest_ready.map_or(Timestamp::default(), |oldest| {
                let slack_ms = u64::try_from(slack.as_millis()).unwrap_or(u64::MAX);
                Timestamp::from_millis(oldest.as_millis().saturating_sub(slack_ms))
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether replies wait; no deadline fires meanwhile");
                Timestamp::default()
            }
        });
    }
    until
}
