use std::collections::VecDeque;
use std::sync::Arc;

use crate::record::{
    Action, Announcement, Cause, Ending, HeldInput, Payload, Resolution, RunId, StepIndex, Timestamp,
};

/// Everything that a saga's entries make of it. Changed in `apply` only.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) run: RunId,
    pub(super) input: Payload,
    pub(super) started_at: Timestamp,
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) changed_at: Timestamp,
    /// The number of entries.
    pub(super) version: u64,
    pub(super) phase: Phase,
    /// When it began to unwind, if it ever did.
    pub(super) unwound_at: Option<Timestamp>,
    pub(super) cause: Option<Cause>,
    pub(super) parked: Option<Arc<str>>,
    pub(super) steps: Box<[Step]>,
    /// Steps whose dependencies are all done and that were not dispatched, in the order they became so.
    pub(super) ready: VecDeque<StepIndex>,
    /// How many executions have no verdict yet, timed-out ones not counted.
    pub(super) running: usize,
    /// How many steps are done.
    pub(super) done: usize,
    pub(super) plan: Plan,
    /// How many operator's resolutions wait for their fence.
    pub(super) resolving: usize,
    pub(super) overdue: bool,
    pub(super) announcements: Announcements,
    pub(super) callback: Callback,
    pub(super) held: VecDeque<HeldInput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Forward,
    /// A step has failed; those in flight may finish until then (`None`: until they answer).
    Failing {
        since: Timestamp,
        until: Option<Timestamp>,
    },
    Unwinding,
    Ended {
        ending: Ending,
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) forward: Forward,
    /// The current round; commands and replies of older ones no longer count.
    pub(super) round: u32,
    /// When it was dispatched in its latest round.
    pub(super) dispatched_at: Timestamp,
    /// When it was dispatched in its first round.
    pub(super) first_dispatched_at: Option<Timestamp>,
    pub(super) input: Payload,
    /// How many of the steps it waits for are not done.
    pub(super) waits_for: usize,
    pub(super) undo: Undo,
    /// When its undo or fence was sent last, if one ever was.
    pub(super) undo_at: Option<Timestamp>,
    pub(super) resolving: Option<Box<Resolution>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Forward {
    Waiting,
    Running,
    Done(Payload),
    Rejected(Arc<str>),
    /// It may have had an effect.
    Failed(Arc<str>),
    /// Its deadline passed without an answer; it may have had an effect.
    Unanswered,
    /// Its input closure failed: nothing was sent.
    Blocked(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Undo {
    /// Not in the plan.
    None,
    /// In the plan, not sent.
    Planned {
        action: Action,
    },
    Running {
        action: Action,
    },
    /// Its round's attempts are spent, or a fence could not tell.
    Stuck {
        action: Action,
        reason: Arc<str>,
    },
    /// No effect remains.
    Gone,
    /// It needs no undo, and will not happen from now on; what happened of it before remains.
    Sealed,
}

/// How far the frozen plan has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Items that can be sent now.
    pub(super) ready: VecDeque<StepIndex>,
    /// Items sent and not answered.
    pub(super) running: usize,
    /// Items not gone.
    pub(super) open: usize,
}

/// Which announcements are made, or will never be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Announcements(u8);

impl Announcements {
    pub(super) const fn is_settled(self, announcement: Announcement) -> bool {
        self.0 & (1 << announcement as u8) != 0
    }

    pub(super) const fn settle(&mut self, announcement: Announcement) {
        self.0 |= 1 << announcement as u8;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Callback {
    /// There is none to make, or the saga has not ended.
    None,
    Owed {
        attempts: u32,
        next_at: Timestamp,
    },
    Answered,
    Refused(Arc<str>),
    /// An operator gave it up.
    GivenUp,
}

impl Step {
    pub(super) fn is_open_in_plan(&self) -> bool {
        matches!(self.undo, Undo::Planned { .. } | Undo::Running { .. } | Undo::Stuck { .. })
    }

    /// Going forward, it has neither succeeded nor will it by itself.
    pub(super) const fn is_stuck_forward(&self) -> bool {
        matches!(
            self.forward,
            Forward::Rejected(_) | Forward::Failed(_) | Forward::Unanswered | Forward::Blocked(_)
        )
    }
}
