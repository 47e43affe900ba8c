//! Which appends go with the next group commit, and which may wait for more of the same saga.
//!
//! A reply from which nothing follows, because others are still awaited, need not be durable at once: until it is, it is not settled, and would come again.
//! Mostly the others come soon, and the log has one append for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Happening};
use super::input::Input;
use super::slot::Slot;
use crate::record::{SagaKey, Status, Timestamp};

/// An append waits for more so long at least, and twice as long at most.
const GATHER: Duration = Duration::from_millis(25);

/// Sagas whose append waits for more.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    new: Vec<SagaKey>,
    /// Those that have waited since the last look.
    old: Vec<SagaKey>,
    is_watched: bool,
}

impl Engine {
    /// What was decided of a saga goes with the next group commit, or gathers.
    pub(super) fn gather(&mut self, key: SagaKey, now: Timestamp) {
        // Whoever else goes on with this saga is not to do so without what is decided here.
        let may_gather = !self.is_draining && !self.shared.others.are_near(now);
        let slot = self.slots.get_mut(&key).expect("the slot was decided on");
        if !may_gather || is_urgent(slot) {
            self.hurry(key);
        } else if !slot.pending.is_urgent && !slot.pending.is_gathering {
            slot.pending.is_gathering = true;
            self.gathering.new.push(key);
            self.watch();
        }
    }

    fn watch(&mut self) {
        if std::mem::replace(&mut self.gathering.is_watched, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.push(async move {
            shared.clock.sleep(GATHER).await;
            Happening::GatheredEnough
        });
    }

    pub(super) fn gathered_enough(&mut self) {
        self.gathering.is_watched = false;
        let new = std::mem::take(&mut self.gathering.new);
        for key in std::mem::replace(&mut self.gathering.old, new) {
            self.hurry(key);
        }
        if !self.gathering.old.is_empty() {
            self.watch();
        }
    }

    /// All goes with the next group commit.
    pub(super) fn gather_no_more(&mut self) {
        let Gathering { new, old, .. } = std::mem::take(&mut self.gathering);
        for key in old.into_iter().chain(new) {
            self.hurry(key);
        }
    }

    /// What waits to be appended of a saga goes with the next group commit; if nothing does, it has gone already.
    pub(super) fn hurry(&mut self, key: SagaKey) {
        if let Some(slot) = self.slots.get_mut(&key)
            && slot.pending.append.is_some()
            && !std::mem::replace(&mut slot.pending.is_urgent, true)
        {
            self.to_append.push(key);
        }
    }
}

/// Whether something follows from what was decided, or somebody waits for it.
fn is_urgent(slot: &Slot) -> bool {
    let pending = &slot.pending;
    let is_under_way = |status| matches!(status, Status::Running | Status::Unwinding);
    let goes_on = pending.append.as_ref().is_some_and(|append| is_under_way(append.status));
    let is_reply = |input: &Input| matches!(input, Input::Reply(_));
    !goes_on
        || !pending.effects.is_empty()
        || !pending.alerts.is_empty()
        || !pending.inputs.iter().all(|(input, _)| is_reply(input))
}
