use crate::error::{Error, ErrorKind};
use crate::ports::StoredSaga;
use crate::record::{Fact, Status};

/// What became of an operator's action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A coordinator has taken it; so the saga stands now.
    Taken(Status),
    /// It is in the saga's record, and no coordinator has taken it yet: none that has the saga's definition runs, or it is slow. It will be
    /// taken by the next one.
    Noted,
}

/// What became of the held input at this place; `None` if nobody has taken it yet.
pub(super) fn found(stored: &StoredSaga, place: usize) -> Option<Result<Answer, Error>> {
    // Held inputs are taken in their order.
    let before = &stored.entries[..place.min(stored.entries.len())];
    let queued = before.iter().fold(0_usize, |queued, entry| match entry.fact {
        Fact::Held { .. } => queued + 1,
        Fact::HeldTaken => queued.saturating_sub(1),
        _ => queued,
    });
    let mut ahead = queued;
    let mut refusal = None;
    for entry in stored.entries.get(place..)? {
        match &entry.fact {
            Fact::HeldTaken if ahead == 0 => {
                return Some(match refusal {
                    Some(reason) => Err(Error::new(ErrorKind::NotAllowed, reason)),
                    None => Ok(Answer::Taken(stored.status)),
                });
            }
            Fact::HeldTaken => (ahead, refusal) = (ahead - 1, None),
            Fact::OperationRefused { reason } => refusal = Some(reason.to_string()),
            _ => {}
        }
    }
    None
}
