use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::STEPS_MAX;
use crate::contract::Kind;
use crate::error::ErrorKind;
use crate::record::{Announcement, Ending, InvalidName};

/// Why a saga could not be built: everything that is wrong with it, each with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("saga {saga:?} cannot be built:{}", Lines(.problems))]
#[non_exhaustive]
pub struct BuildError {
    /// The saga's name.
    pub saga: Arc<str>,
    /// All that was found, at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The step's name; `None` when it is about the saga as a whole.
    pub step: Option<Arc<str>>,
    /// What is wrong. Its text says what to write.
    pub fault: Fault,
}

/// What can be wrong with a saga. The text says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// It has no step.
    #[error("it has no step: add one with `step(&CONTRACT, |input| …)`")]
    Empty,
    /// It has too many steps.
    #[error("it has {0} steps and at most {STEPS_MAX} are possible: split it into several sagas")]
    TooManySteps(usize),
    /// A name or topic that a broker could not carry.
    #[error("{0}: use 1 to 200 characters of A-Z a-z 0-9 . _ -")]
    Name(InvalidName),
    /// An earlier step has the same name.
    #[error("an earlier step has the same name: give this one its own with `configure(&step).named(\"…\")`")]
    DuplicateName,
    /// A handle of another builder was used.
    #[error(
        "the handle of a step on contract {contract:?} is of another builder: use handles that this saga's `step` or `step_after` returned"
    )]
    ForeignHandle {
        /// The contract of the step that the handle stands for.
        contract: &'static str,
    },
    /// It waits for one step twice.
    #[error("it waits for {0:?} twice: name each step once")]
    WaitsTwice(Arc<str>),
    /// There is another pivot before it.
    #[error(
        "it is a second point of no return, after {0:?}: a saga has at most one, so make one of the two contracts `Compensatable`, `NoUndo` or `Retriable`"
    )]
    SecondPivot(Arc<str>),
    /// A compensatable step that does not come before the pivot.
    #[error(
        "it could still have to be undone when the pivot {0:?} is done: let the pivot wait for it (`step_after`, directly or through other steps), or make its contract `Retriable` and let it wait for the pivot"
    )]
    NotBeforePivot(Arc<str>),
    /// A step after the pivot that could fail.
    #[error(
        "it is {kind} and comes after the pivot {pivot:?}, where nothing may fail: make its contract `Retriable`"
    )]
    FailsAfterPivot {
        /// What it is.
        kind: Kind,
        /// The pivot's name.
        pivot: Arc<str>,
    },
    /// A retriable step that does not come after a pivot.
    #[error(
        "it is retriable and does not come after a pivot: let it wait for the pivot with `step_after`, or make its contract `Compensatable` or `NoUndo`"
    )]
    RetriableBeforePivot,
    /// A deadline on a retriable step.
    #[error(
        "it is retriable, so its deadline could do nothing: remove it, and set the saga's with `deadline(…)` to be alerted"
    )]
    RetriableDeadline,
    /// A deadline of no time.
    #[error("its deadline is zero: give it time, or remove it")]
    ZeroDeadline,
    /// A retry that allows no attempt.
    #[error("its retry allows no attempt at all: the first counts too, so write `Retry::NEVER` for one only")]
    NoAttempts,
    /// A retry whose first delay is longer than its longest.
    #[error("its retry starts with a delay of {first:?}, longer than its longest of {max:?}: swap them")]
    DelaysReversed {
        /// The first delay.
        first: Duration,
        /// The longest.
        max: Duration,
    },
    /// A retry without end and without a pause.
    #[error(
        "its retry repeats without end and without a pause: give it a first delay of 1 ms or more, or limit its attempts"
    )]
    RetrySpins,
    /// With [`WaitAll`](super::FailurePolicy::WaitAll), nothing ends the waiting for this step.
    #[error(
        "after a failure elsewhere `WaitAll` could wait for it for ever: give it a deadline, or the saga, or use `Grace(…)`"
    )]
    EndlessWait,
    /// Nothing ends this step's attempts.
    #[error("it could be retried for ever: give it a deadline, or the saga, or limit its attempts")]
    EndlessRetry,
    /// One topic is used for two things that do not go together.
    #[error("topic {topic:?} is {first} and {second}: use two topics")]
    TopicClash {
        /// The topic.
        topic: Arc<str>,
        /// What it is.
        first: &'static str,
        /// What it is as well.
        second: &'static str,
    },
    /// An announcement was set twice.
    #[error("`announce` was called twice for {0}: call it once")]
    AnnouncedTwice(Announcement),
    /// A callback was set twice.
    #[error("`callback` was called twice for {0}: call it once, with a callback that does both")]
    CalledBackTwice(Ending),
    /// A codec for replies was set twice.
    #[error("`reply_codec` was called twice: call it once")]
    ReplyCodecTwice,
}

impl Problem {
    pub(super) const fn of_saga(fault: Fault) -> Self {
        Self { step: None, fault }
    }

    pub(super) fn of_step(step: &Arc<str>, fault: Fault) -> Self {
        Self { step: Some(Arc::clone(step)), fault }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step {step:?}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl From<BuildError> for crate::Error {
    fn from(error: BuildError) -> Self {
        Self::new(ErrorKind::Invalid, "a definition that cannot run").with_source(error)
    }
}

/// One problem stands on the same line, several on lines of their own.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, " {only}"),
            several => several.iter().try_for_each(|problem| write!(f, "\n  - {problem}")),
        }
    }
}
