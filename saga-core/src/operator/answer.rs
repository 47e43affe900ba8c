use crate::error::{Error, ErrorKind};
use crate::ports::{Audited, StoredSaga};
use crate::record::{Entry, Fact, HeldInput, Status};

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

/// What became of a held input, by the audit of a saga whose record has been pruned meanwhile: nothing was held any more when it ended.
pub(super) fn of_pruned(audit: &[Audited], held: &Entry, status: Status) -> Result<Answer, Error> {
    let Fact::Held { input: HeldInput::Operate { who, why, .. } } = &held.fact else {
        return Ok(Answer::Taken(status));
    };
    let after = audit.iter().skip_while(|line| line.entry != *held);
    let mut refusals = after.filter_map(|line| match &line.entry.fact {
        Fact::OperationRefused { who: to, why: of, reason } if (to, of) == (who, why) => Some(reason),
        _ => None,
    });
    match refusals.next() {
        Some(reason) => Err(Error::new(ErrorKind::NotAllowed, reason.to_string())),
        None => Ok(Answer::Taken(status)),
    }
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
            Fact::OperationRefused { reason, .. } => refusal = Some(reason.to_string()),
            _ => {}
        }
    }
    None
}
