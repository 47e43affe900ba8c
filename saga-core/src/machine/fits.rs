//! Which facts can be of a saga where it stands. The machine decides no other, so one that does not fit is not of its making.

use super::state::{Callback, Phase, State};
use crate::record::Fact;

impl State {
    /// # Errors
    /// What the saga is doing while this cannot be.
    pub(super) fn check_fits(&self, fact: &Fact) -> Result<(), String> {
        if self.fits(fact) { Ok(()) } else { Err(format!("it cannot be of a saga that {}", self.doing())) }
    }

    const fn fits(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Started { .. } => false,
            Fact::Dispatched { .. } | Fact::Blocked { .. } | Fact::Overdue | Fact::Failing { .. } => {
                matches!(self.phase, Phase::Forward)
            }
            Fact::Succeeded { .. } | Fact::Rejected { .. } | Fact::TimedOut { .. } => {
                matches!(self.phase, Phase::Forward | Phase::Failing { .. })
            }
            Fact::Unwinding { .. } => matches!(self.phase, Phase::Failing { .. }),
            Fact::WentForward => matches!(self.phase, Phase::Failing { .. } | Phase::Unwinding),
            Fact::LateSuccess { .. }
            | Fact::UndoDispatched { .. }
            | Fact::Undone { .. }
            | Fact::UndoFailed { .. }
            | Fact::Fenced { .. } => matches!(self.phase, Phase::Unwinding),
            Fact::Resolving { .. } | Fact::Parked { .. } => {
                matches!(self.phase, Phase::Forward | Phase::Unwinding)
            }
            Fact::Failed { .. } | Fact::Resolved { .. } | Fact::Ended { .. } => {
                !matches!(self.phase, Phase::Ended { .. })
            }
            Fact::CallbackFailed { .. } | Fact::CallbackRefused { .. } => {
                matches!(self.callback, Callback::Owed { .. })
            }
            Fact::CallbackAnswered => matches!(self.callback, Callback::Owed { .. } | Callback::Refused(_)),
            Fact::Operated { .. }
            | Fact::Announced { .. }
            | Fact::AnnouncementRefused { .. }
            | Fact::Held { .. }
            | Fact::HeldTaken
            | Fact::OperationRefused { .. } => true,
        }
    }

    const fn doing(&self) -> &'static str {
        match self.phase {
            Phase::Forward => "goes forward",
            Phase::Failing { .. } => "waits for what is in flight, to turn back",
            Phase::Unwinding => "unwinds",
            Phase::Ended { .. } => match self.callback {
                Callback::Owed { .. } => "has ended and owes its callback",
                Callback::None | Callback::Answered | Callback::Refused(_) | Callback::GivenUp => "has ended",
            },
        }
    }
}
