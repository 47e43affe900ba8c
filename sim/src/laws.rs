//! What must hold, by name.

use std::fmt;

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Law {
    Ends,
    Once,
    NothingLeft,
    NothingMissing,
    Cause,
    Dependencies,
    Durable,
    Acknowledged,
    Announced,
    Answered,
    OneCallback,
    Replay,
    Told,
    Unread,
    TakeOver,
    NothingDropped,
    NoFailure,
}

/// A law that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) how: String,
}

impl Law {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ends => {
                "once faults stop, every saga ends within bounded time, with an operator's help if it is parked"
            }
            Self::Once => "no effect twice",
            Self::NothingLeft => "no effect left after undo or fence",
            Self::NothingMissing => "what is recorded as done is done",
            Self::Cause => "no undo without cause",
            Self::Dependencies => "nothing before its dependencies",
            Self::Durable => "what was acknowledged is in the log",
            Self::Acknowledged => "nothing is acknowledged before its consequences are durable",
            Self::Announced => "what is recorded as announced was published",
            Self::Answered => "who asks once nothing goes wrong any more is answered",
            Self::OneCallback => "the callback is made, with one id per end, and only then",
            Self::Replay => "the record can be replayed, and says what the log says",
            Self::Told => "what callers are told is what is recorded",
            Self::Unread => "no deadline fires over an older reply that is unread",
            Self::TakeOver => {
                "after its coordinator has died, a saga's deadlines wait until what it owes was sent again"
            }
            Self::NothingDropped => {
                "among the dead letters is what cannot be read, and nothing else without cause"
            }
            Self::NoFailure => "nothing panics or fails for good",
        }
    }

    pub(crate) fn broken(self, how: impl fmt::Display) -> Broken {
        Broken { law: self, how: how.to_string() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.law.name(), self.how)
    }
}
