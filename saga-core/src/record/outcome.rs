use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::StepIndex;

/// Where a saga stands, as the log files it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// Going forward, or waiting out the grace period after a first failure.
    Running,
    /// What was done is being undone.
    Unwinding,
    /// Nothing left that the library can do; an operator is needed.
    Parked,
    /// Every step is done.
    Completed,
    /// Everything done has been undone.
    RolledBack,
    /// An operator ended it as it stood.
    Abandoned,
}

impl Status {
    /// Whether the saga has ended: completed, rolled back or abandoned. A parked saga has not.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::RolledBack | Self::Abandoned)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Unwinding => "unwinding",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::RolledBack => "rolled-back",
            Self::Abandoned => "abandoned",
        })
    }
}

/// How a saga ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every step is done.
    Completed,
    /// Everything done has been undone.
    RolledBack,
    /// An operator ended it as it stood.
    Abandoned,
}

impl From<Ending> for Status {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed => Self::Completed,
            Ending::RolledBack => Self::RolledBack,
            Ending::Abandoned => Self::Abandoned,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Status::from(*self).fmt(f)
    }
}

/// Why a saga began to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// A step was refused, without effect.
    Rejected {
        /// The step.
        step: StepIndex,
        /// What its participant said.
        reason: Arc<str>,
    },
    /// A step failed, perhaps with an effect.
    Failed {
        /// The step.
        step: StepIndex,
        /// What its participant said.
        reason: Arc<str>,
    },
    /// A step did not answer before its deadline.
    StepDeadline {
        /// The step.
        step: StepIndex,
    },
    /// The saga did not complete before its deadline.
    SagaDeadline,
    /// Someone cancelled it.
    Cancelled {
        /// Who asked.
        who: Arc<str>,
        /// Why, in their words.
        why: Arc<str>,
    },
}
