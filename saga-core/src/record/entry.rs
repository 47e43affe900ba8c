use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cause, DefinitionRef, Ending, HeldInput, Operation, Payload, Resolution, RunId, Timestamp};

/// One line of a saga's record: something that happened, and when.
///
/// The record is the truth: a saga's whole state is what its entries, applied in order, make of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was decided, by the log's clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What can happen to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fact {
    /// The saga was started.
    Started {
        /// This start.
        run: RunId,
        /// What the instance is pinned to.
        definition: DefinitionRef,
        /// The saga's input.
        input: Payload,
        /// The W3C trace context it was started in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<Arc<str>>,
    },
    /// A step is to be executed. Its command is owed until a verdict is recorded.
    Dispatched {
        /// The step.
        step: StepIndex,
        /// The round, from 1; an operator's `retry` begins a new one.
        round: u32,
        /// What its input closure returned; a resend sends these bytes.
        input: Payload,
    },
    /// A step's input closure failed or panicked; nothing was sent.
    Blocked {
        /// The step.
        step: StepIndex,
        /// What the closure said.
        reason: Arc<str>,
    },
    /// A step is done.
    Succeeded {
        /// The step.
        step: StepIndex,
        /// What it returned.
        output: Payload,
    },
    /// A step was refused and had no effect.
    Rejected {
        /// The step.
        step: StepIndex,
        /// Why.
        reason: Arc<str>,
    },
    /// A step failed and may have had an effect.
    Failed {
        /// The step.
        step: StepIndex,
        /// Why.
        reason: Arc<str>,
        /// The output, kept when the failure is that it could not be decoded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<Payload>,
    },
    /// A step did not answer before its deadline; it may have had an effect.
    TimedOut {
        /// The step.
        step: StepIndex,
    },
    /// The saga deadline passed after the point of no return: it only alerts.
    Overdue,
    /// The first failure: nothing more is dispatched.
    Failing {
        /// Why.
        cause: Cause,
        /// Until when steps in flight may still finish; `None` means until they answer.
        until: Option<Timestamp>,
    },
    /// Undoing begins, by a plan that will not change.
    Unwinding {
        /// What is to be undone or fenced.
        plan: Vec<PlanItem>,
    },
    /// A success that came after the plan was made; its undo is told of it.
    LateSuccess {
        /// The step.
        step: StepIndex,
        /// What it returned.
        output: Payload,
    },
    /// An undo or a fence is to be sent. Its command is owed until it is answered.
    UndoDispatched {
        /// The step.
        step: StepIndex,
        /// [`Action::Undo`] or [`Action::Fence`].
        action: Action,
        /// The round.
        round: u32,
    },
    /// A step's effect is gone.
    Undone {
        /// The step.
        step: StepIndex,
    },
    /// A round of undoing was spent without success.
    UndoFailed {
        /// The step.
        step: StepIndex,
        /// The round that failed.
        round: u32,
        /// Why.
        reason: Arc<str>,
    },
    /// A fence was answered.
    Fenced {
        /// The step.
        step: StepIndex,
        /// What the barrier knew.
        answer: FenceAnswer,
    },
    /// The pivot turned out to be done: the saga goes forward after all.
    WentForward,
    /// An operator's decision on a step waits for the step's barrier row to be sealed.
    Resolving {
        /// The step.
        step: StepIndex,
        /// The round of the fence that seals it.
        round: u32,
        /// What it is resolved as.
        resolution: Resolution,
    },
    /// An operator's decision on a step took effect.
    Resolved {
        /// The step.
        step: StepIndex,
        /// What it was resolved as.
        resolution: Resolution,
    },
    /// Nothing is left that the library can do by itself.
    Parked {
        /// What stands in the way.
        reason: Arc<str>,
    },
    /// An operator acted.
    Operated {
        /// What, who and why.
        operation: Operation,
    },
    /// The saga has ended.
    Ended {
        /// How.
        ending: Ending,
    },
    /// An announcement was published.
    Announced {
        /// Which.
        announcement: Announcement,
    },
    /// A callback attempt had no answer.
    CallbackFailed {
        /// Which attempt, from 1.
        attempt: u32,
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The callback was answered: it has happened.
    CallbackAnswered,
    /// An announcement cannot be made: its closure failed, or the bus refuses the message for good.
    AnnouncementRefused {
        /// Which.
        announcement: Announcement,
        /// Why.
        reason: Arc<str>,
    },
    /// The callback will not be tried again by itself.
    CallbackRefused {
        /// Why.
        reason: Arc<str>,
    },
    /// An input that arrived where this saga's definition was not registered.
    Held {
        /// The input.
        input: HeldInput,
    },
    /// The oldest held input has been dealt with.
    HeldTaken,
    /// An operator's action that was held did not fit when it was its turn: nothing was done.
    OperationRefused {
        /// Who asked.
        who: Arc<str>,
        /// Why, in their words.
        why: Arc<str>,
        /// What stood in the way.
        reason: Arc<str>,
    },
}

impl Fact {
    /// Whether an operator did it, or asked for it, or was refused: what stays in the log's audit when the saga's record is pruned.
    pub const fn is_operators(&self) -> bool {
        matches!(
            self,
            Self::Held { input: HeldInput::Cancel { .. } | HeldInput::Operate { .. } }
                | Self::Operated { .. }
                | Self::OperationRefused { .. }
                | Self::Resolved { .. }
        )
    }
}

/// The place of a step in its definition, from 0, in the order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(pub u16);

impl StepIndex {
    /// As an index into a slice of steps.
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// What a command asks of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Do the step.
    Execute,
    /// Undo it.
    Undo,
    /// Make sure it will not happen from now on, and tell what is known of it.
    Fence,
}

impl Action {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Undo => "undo",
            Self::Fence => "fence",
        }
    }

    /// Reads its name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "execute" => Some(Self::Execute),
            "undo" => Some(Self::Undo),
            "fence" => Some(Self::Fence),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a participant says of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// Execute: done.
    Succeeded {
        /// What the step returned.
        output: Payload,
    },
    /// Execute: refused; no attempt had an effect.
    Rejected {
        /// Why.
        reason: Arc<str>,
    },
    /// Execute: gave up; an attempt may have had an effect.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
    /// Undo: no effect remains.
    Undone,
    /// Undo: this round's attempts are spent.
    UndoFailed {
        /// Why.
        reason: Arc<str>,
    },
    /// Fence: what the barrier row says.
    Fenced {
        /// The answer.
        answer: FenceAnswer,
    },
}

/// What a sealed barrier row knows of its step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceAnswer {
    /// Nothing happened, and nothing will.
    NoEffect,
    /// It is done.
    Done {
        /// What the step returned.
        output: Payload,
    },
    /// It was attempted; whether it had an effect is unknown. It will not be attempted again.
    Unknown,
}

/// One line of the frozen plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// The step.
    pub step: StepIndex,
    /// [`Action::Undo`] or [`Action::Fence`].
    pub action: Action,
}

/// What a saga can tell the world on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Announcement {
    /// Undoing begins.
    Unwinding,
    /// The saga completed.
    Completed,
    /// The saga was rolled back.
    RolledBack,
    /// The saga was abandoned.
    Abandoned,
}

impl From<Ending> for Announcement {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::RolledBack => Self::RolledBack,
            Ending::Abandoned => Self::Abandoned,
        }
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwinding => "unwinding",
            Self::Completed => "completed",
            Self::RolledBack => "rolled-back",
            Self::Abandoned => "abandoned",
        })
    }
}
