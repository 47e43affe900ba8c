//! What a batch of appends does to the sagas it is for. Pure, and the same for every database: an adapter reads how the sagas are filed,
//! under lock, asks, and writes what is answered.

mod failure;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use saga_core::ports::{Append, AppendError, Tombstone, Version};
use saga_core::record::{DefinitionRef, RunId, SagaKey, Status, Timestamp};
use saga_core::{Error, ErrorKind};

pub(crate) use self::failure::Failure;
use crate::stored::write_entries;

/// A saga as the log has it filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filed {
    pub(crate) no: i64,
    pub(crate) what: What,
}

/// What is filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Live(Live),
    /// Only a tombstone, since then.
    Tomb(Timestamp),
}

/// A saga whose entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) run: RunId,
    pub(crate) definition: DefinitionRef,
    pub(crate) version: Version,
    pub(crate) changed_at: Timestamp,
    pub(crate) line: Line,
}

/// Where a saga stands in the queue of those that wait to be woken. `at` is never later than when it is to be woken: one that is put off
/// stays where it is until its line comes up, so that most appends leave the index of the queue alone. Once it has come up, it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Option<Timestamp>,
    pub(crate) owner: u64,
}

/// What becomes of a batch.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// One for each append, in order.
    pub(crate) answers: Vec<Result<Version, AppendError>>,
    pub(crate) changes: Vec<Change>,
}

/// What becomes of one saga.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) key: SagaKey,
    /// Its number, if it is filed already.
    pub(crate) no: Option<i64>,
    /// Which appends made this change, by their place in the batch.
    pub(crate) appends: Vec<usize>,
    /// Whether entries may be stored from before this batch.
    pub(crate) had_entries: bool,
    pub(crate) fate: Fate,
}

/// How a saga is filed after a batch.
#[derive(Debug)]
pub(crate) enum Fate {
    Live(Box<Kept>),
    Settled(Box<Tombstone>),
}

/// A saga that goes on.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) run: RunId,
    pub(crate) definition: DefinitionRef,
    pub(crate) version: Version,
    pub(crate) status: Status,
    /// When its last entry was decided.
    pub(crate) changed_at: Timestamp,
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) line: Line,
    /// Whether it stands elsewhere in the queue than before, or is newly filed.
    pub(crate) is_refiled: bool,
    /// New entries: the number of the first, and their text.
    pub(crate) entries: Vec<(Version, String)>,
}

/// How things are before the batch.
pub(crate) struct Before<'a> {
    pub(crate) filed: HashMap<SagaKey, Filed>,
    pub(crate) now: Timestamp,
    pub(crate) idempotency_window: Duration,
    /// The number under which an owner and its epoch are filed; 0 for one that has no such lease.
    pub(crate) owner: &'a dyn Fn(&str, u64) -> u64,
}

impl Plan {
    /// Decides a batch.
    pub(crate) fn of(batch: &[Append], before: Before<'_>) -> Self {
        let mut plan = Self { answers: Vec::with_capacity(batch.len()), changes: Vec::new() };
        let mut places: HashMap<&SagaKey, usize> = HashMap::new();
        for (nth, append) in batch.iter().enumerate() {
            let place = places.get(&append.key).copied();
            let answer = match place {
                Some(place) => plan.changes[place].again(nth, append, &before),
                None => Change::of(nth, append, &before).map(|(version, change)| {
                    if let Some(change) = change {
                        places.insert(&append.key, plan.changes.len());
                        plan.changes.push(change);
                    }
                    version
                }),
            };
            plan.answers.push(answer);
        }
        plan
    }

    #[cfg(feature = "postgres")]
    /// The change did not take effect after all: someone else was first.
    pub(crate) fn lost(&mut self, change: &Change) {
        for &nth in &change.appends {
            self.answers[nth] = Err(AppendError::Conflict);
        }
    }
}

impl Change {
    /// The first append of a batch to a saga.
    fn of(nth: usize, append: &Append, before: &Before<'_>) -> Result<(Version, Option<Self>), AppendError> {
        let filed = before.filed.get(&append.key);
        let live = match filed.map(|filed| &filed.what) {
            Some(What::Live(live)) => Some(live),
            Some(What::Tomb(since)) if before.now < since.after(before.idempotency_window) => {
                return Err(AppendError::Conflict);
            }
            Some(What::Tomb(_)) | None => None,
        };
        let kept = match live {
            Some(live) => Kept {
                run: live.run,
                definition: live.definition.clone(),
                version: live.version,
                status: append.status,
                changed_at: live.changed_at,
                wake_at: None,
                line: live.line,
                is_refiled: false,
                entries: Vec::new(),
            },
            None if append.expected > 0 => return Err(AppendError::Conflict),
            None if append.entries.is_empty() && append.settled.is_none() => return Ok((0, None)),
            None => Kept {
                run: append.run,
                definition: append.definition.clone(),
                version: 0,
                status: append.status,
                changed_at: Timestamp::default(),
                wake_at: None,
                line: Line::default(),
                is_refiled: true,
                entries: Vec::new(),
            },
        };
        let mut change = Self {
            key: append.key.clone(),
            no: filed.map(|filed| filed.no),
            appends: Vec::new(),
            had_entries: live.is_some(),
            fate: Fate::Live(Box::new(kept)),
        };
        let version = change.again(nth, append, before)?;
        Ok((version, Some(change)))
    }

    /// One more append to a saga.
    fn again(&mut self, nth: usize, append: &Append, before: &Before<'_>) -> Result<Version, AppendError> {
        let Fate::Live(kept) = &mut self.fate else { return Err(AppendError::Conflict) };
        check(kept, append)?;
        let version = kept.version + append.entries.len() as Version;
        if let Some(tombstone) = &append.settled {
            self.fate = Fate::Settled(Box::new(tombstone.clone()));
        } else {
            kept.take(append, before)?;
        }
        self.appends.push(nth);
        Ok(version)
    }
}

/// A version says nothing about another run of the same id.
fn check(kept: &Kept, append: &Append) -> Result<(), AppendError> {
    if kept.version != append.expected || kept.run != append.run {
        return Err(AppendError::Conflict);
    }
    if kept.definition != append.definition {
        let (key, pinned, other) = (&append.key, &kept.definition, &append.definition);
        let message = format!("saga {key} is pinned to {pinned}; an append to it names {other}");
        return Err(AppendError::Failed(Error::new(ErrorKind::Invalid, message)));
    }
    Ok(())
}

impl Kept {
    fn take(&mut self, append: &Append, before: &Before<'_>) -> Result<(), AppendError> {
        if let Some(last) = append.entries.last() {
            let text = write_entries(&append.key, &append.entries).map_err(AppendError::Failed)?;
            self.entries.push((self.version, text));
            self.version += append.entries.len() as Version;
            self.changed_at = last.at;
        }
        self.status = append.status;
        self.wake_at = append.wake_at;
        let owner = append.owner.as_ref().map_or(0, |(name, epoch)| (before.owner)(name, *epoch));
        let line = self.line.moved(append.wake_at, owner, before.now);
        self.is_refiled |= line != self.line;
        self.line = line;
        Ok(())
    }
}

impl Line {
    /// Where a saga stands that is from `now` on to be woken then, by this owner.
    fn moved(self, wake_at: Option<Timestamp>, owner: u64, now: Timestamp) -> Self {
        let at = match (self.at, wake_at) {
            (Some(line), Some(wake_at)) if line > now => Some(line.min(wake_at)),
            (Some(_), Some(wake_at)) => Some(wake_at),
            (None, wake_at) => wake_at,
            (Some(_), None) => None,
        };
        Self { at, owner }
    }
}
