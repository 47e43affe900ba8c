use std::fmt::Display;

use saga_core::Error;

/// How a case ends: kept, or stopped.
pub type Check<T = ()> = Result<T, Stop>;

/// Why a case stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bus does not promise it, for this reason.
    DoesNotApply(String),
    /// The promise was broken, in this way.
    Failed(String),
}

impl Stop {
    /// The promise was broken.
    pub fn failed(what: impl Display) -> Self {
        Self::Failed(what.to_string())
    }

    /// The bus does not promise it.
    pub fn does_not_apply(why: impl Display) -> Self {
        Self::DoesNotApply(why.to_string())
    }
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Failed(what)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(format!("{:?}: {error}", error.kind()))
    }
}

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::Stop::Failed(format!($($what)+)));
        }
    };
}
