use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::input::{Decided, Input};
use super::outcome::Outcome;
use crate::machine::{Effect, Instance};
use crate::ports::Append;
use crate::record::{Fact, Timestamp};

/// A saga in a coordinator's memory.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// As its entries make it, those that are not durable yet included. `None` when it is to be read from the log first.
    pub(super) instance: Option<Box<Instance>>,
    /// Nobody has looked yet whether the log has it: a start may be tried without looking.
    pub(super) is_unread: bool,
    /// A load or an append is under way: it is not decided on until then.
    pub(super) is_busy: bool,
    /// It is in the list of slots to be decided.
    pub(super) is_queued: bool,
    pub(super) inputs: VecDeque<Input>,
    pub(super) pending: Pending,
    /// Something owed may not have been published: perform all that is owed at the next occasion.
    pub(super) is_unpublished: bool,
    /// It was read from the log when something came in for it: whoever appended last has performed what is owed, or has died before. It is performed
    /// again when the saga is due, before any deadline fires.
    pub(super) is_unsure: bool,
    /// When all that was owed had been looked through last.
    pub(super) performed_at: Timestamp,
    /// No deadline fires before.
    pub(super) deadlines_from: Timestamp,
    /// It counts against the admission limit.
    pub(super) is_admitted: bool,
    /// Its callback is under way or waits for its turn.
    pub(super) is_calling: bool,
    pub(super) waiters: Vec<oneshot::Sender<Outcome>>,
}

/// What was decided and is not durable yet, and what happens once it is.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Waits for a group commit; what is decided until then goes with it.
    pub(super) append: Option<Box<Append>>,
    /// It goes with the next one, because something follows from it.
    pub(super) is_urgent: bool,
    /// It may wait a little for more to come.
    pub(super) is_gathering: bool,
    pub(super) inputs: Vec<(Input, Decided)>,
    /// What was silent for long enough to be performed again.
    pub(super) due: Vec<Effect>,
    /// The effects are all that is owed.
    pub(super) is_all: bool,
    pub(super) effects: Vec<Effect>,
    /// The effects are owed by this append alone, so that nobody can have performed them before.
    pub(super) is_first: bool,
    /// What somebody is to be told of.
    pub(super) alerts: Vec<Fact>,
}

impl Slot {
    pub(super) fn unread() -> Self {
        Self { is_unread: true, ..Self::default() }
    }

    /// Nothing of it is under way, so that it can be dropped from memory and read again later.
    pub(super) fn is_idle(&self) -> bool {
        self.is_quiet() && self.waiters.is_empty()
    }

    /// Nothing of it is under way, though somebody may wait for its outcome.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_durable() && !self.is_queued && !self.is_calling && self.inputs.is_empty()
    }

    /// The log has all that was decided of it.
    pub(super) const fn is_durable(&self) -> bool {
        !self.is_busy && self.pending.append.is_none()
    }

    /// What was thought of it is void: its inputs are decided anew on what the log has.
    pub(super) fn forget(&mut self) {
        self.instance = None;
        self.is_unread = false;
        let void = std::mem::take(&mut self.pending);
        self.is_unpublished |= void.is_all;
        // Who waits for the outcome looks into the log: it may be another coordinator's saga by now.
        self.waiters.clear();
        for (input, _) in void.inputs.into_iter().rev() {
            // The log says again what is due.
            if !matches!(input, Input::Wake { .. }) {
                self.inputs.push_front(input);
            }
        }
    }
}
