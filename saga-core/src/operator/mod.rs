//! Operating sagas by the log alone, from a process that runs none of them: what the command-line tool does.
//!
//! What an operator wants is appended to the saga's record, as an input that is held; a coordinator that has the saga's definition takes it,
//! within its [`wake_interval`](crate::CoordinatorOptions::wake_interval), and records what came of it. So nothing is decided here, and
//! it does not matter how many coordinators there are.

mod answer;
mod sheet;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use answer::Answer;
pub use sheet::{Action, LiveSheet, Sheet};
#[cfg(any(feature = "fuzz", feature = "testing"))]
pub(crate) use words::in_words;

use crate::error::{Error, ErrorKind};
use crate::ports::{Append, AppendError, DeadLetter, Query, Record, SagaLog, StoredSaga, Summary};
use crate::record::{Entry, Fact, HeldInput, NamedVerb, Outline, Resolution, RunId, SagaKey, Timestamp};
use crate::wire::Command;

/// How often a record that others append to meanwhile is tried.
const TRIES_MAX: usize = 20;
/// How often the record is read to see whether a coordinator has taken what was asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How many of the operators' actions a sheet has.
const AUDIT_SHOWN_MAX: usize = 1_000;
/// How long the lease holds by which the log tells the time.
const GLANCE: Duration = Duration::from_millis(1);

/// An operator of the sagas in a log.
#[derive(Clone)]
pub struct Operator {
    log: Arc<dyn SagaLog>,
    wait: Duration,
}

impl Operator {
    /// One that waits up to ten seconds for a coordinator to take what it asks.
    pub fn new(log: Arc<dyn SagaLog>) -> Self {
        Self { log, wait: Duration::from_secs(10) }
    }

    /// One that waits so long.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Lists sagas, in the order of their keys.
    ///
    /// # Errors
    /// [`Retry`](ErrorKind::Retry) when the log is away.
    pub async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.log.list(query).await
    }

    /// A saga as it stands and what happened to it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga; [`Corrupt`](ErrorKind::Corrupt) when the log cannot read it.
    pub async fn show(&self, key: &SagaKey) -> Result<Sheet, Error> {
        let stored = match self.record(key).await? {
            Record::Tombstone(tombstone) => {
                let audit = self.audit(Some(key), AUDIT_SHOWN_MAX).await?;
                let audit = audit.into_iter().filter(|action| action.run == tombstone.run).collect();
                return Ok(Sheet::Pruned(tombstone, audit));
            }
            Record::Stored(stored) => stored,
        };
        let outlines = self.log.outlines().await?;
        let outline = outlines.into_iter().find(|outline| outline.definition == stored.definition);
        Ok(Sheet::Live(Box::new(LiveSheet::new(stored, outline))))
    }

    /// What operators did, the oldest first, at most `limit`: to one saga, or to all. It stays when the sagas' records are pruned.
    ///
    /// # Errors
    /// [`Retry`](ErrorKind::Retry) when the log is away.
    pub async fn audit(&self, key: Option<&SagaKey>, limit: usize) -> Result<Vec<Action>, Error> {
        let lines = self.log.audit(key.cloned(), limit).await?;
        let outlines = if lines.is_empty() { Vec::new() } else { self.log.outlines().await? };
        Ok(lines.into_iter().map(|line| Action::of(line, &outlines)).collect())
    }

    /// What the log knows of definitions.
    ///
    /// # Errors
    /// [`Retry`](ErrorKind::Retry) when the log is away.
    pub async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.log.outlines().await
    }

    /// Tries what is stuck again, in a new round: one step, or everything, a refused callback included.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when the coordinator finds nothing stuck, or the saga has ended;
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga.
    pub async fn retry(
        &self,
        key: &SagaKey,
        step: Option<&str>,
        who: &str,
        why: &str,
    ) -> Result<Answer, Error> {
        self.operate(key, NamedVerb::Retry { step: step.map(Into::into) }, who, why).await
    }

    /// Declares what a stuck or silent step is. It takes effect once the step's barrier row is sealed.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when the step does not wait for a decision, or not for that one; otherwise as for
    /// [`retry`](Self::retry).
    pub async fn resolve(
        &self,
        key: &SagaKey,
        step: &str,
        resolution: Resolution,
        who: &str,
        why: &str,
    ) -> Result<Answer, Error> {
        self.operate(key, NamedVerb::Resolve { step: step.into(), resolution }, who, why).await
    }

    /// Ends a saga as it stands, whatever is done or not; or, of one that has ended, gives its refused callback up.
    ///
    /// # Errors
    /// As for [`retry`](Self::retry).
    pub async fn abandon(&self, key: &SagaKey, who: &str, why: &str) -> Result<Answer, Error> {
        self.operate(key, NamedVerb::Abandon, who, why).await
    }

    /// Asks for a saga to be undone. The answer's status says whether it is being undone, or goes on because it was too late.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when the saga has ended; [`NotFound`](ErrorKind::NotFound) when there is no such saga.
    pub async fn cancel(&self, key: &SagaKey, who: &str, why: &str) -> Result<Answer, Error> {
        self.hold(key, HeldInput::Cancel { who: who.into(), why: why.into() }).await
    }

    /// Tries the step again whose command is this dead letter. The letter itself stays as evidence.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the letter is no command of a saga; otherwise as for [`retry`](Self::retry).
    pub async fn redrive(&self, letter: &DeadLetter, who: &str, why: &str) -> Result<Answer, Error> {
        let message = &letter.message;
        let command = Command::parse(message).map_err(|malformed| {
            let text =
                format!("dead letter {} of topic {} is no command of a saga", message.id, message.topic);
            Error::new(ErrorKind::Invalid, text).with_source(malformed)
        })?;
        self.retry(&command.key, Some(&command.step), who, why).await
    }

    async fn operate(&self, key: &SagaKey, verb: NamedVerb, who: &str, why: &str) -> Result<Answer, Error> {
        self.hold(key, HeldInput::Operate { verb, who: who.into(), why: why.into() }).await
    }

    /// Appends an input to the saga's record, makes the saga due, and waits for a coordinator.
    async fn hold(&self, key: &SagaKey, input: HeldInput) -> Result<Answer, Error> {
        for _ in 0..TRIES_MAX {
            let stored = match self.record(key).await? {
                Record::Tombstone(tombstone) => {
                    let message = format!("saga {key} has ended: {}", crate::Status::from(tombstone.ending));
                    return Err(Error::new(ErrorKind::NotAllowed, message));
                }
                Record::Stored(stored) => stored,
            };
            let at = self.now().await?;
            let entry = Entry { at, fact: Fact::Held { input: input.clone() } };
            let (place, run) = (stored.entries.len(), stored.run);
            let appended = self.log.append(vec![append_of(key, stored, entry.clone())]).await.pop();
            match appended {
                Some(Ok(_)) => return self.taken(key, run, place, &entry).await,
                Some(Err(AppendError::Failed(error))) => return Err(error),
                // It may be there: then it is where it was put.
                Some(Err(AppendError::Unknown(_))) if self.is_there(key, run, place, &entry).await? => {
                    return self.taken(key, run, place, &entry).await;
                }
                Some(Err(AppendError::Conflict | AppendError::Unknown(_))) | None => {}
            }
        }
        let message = format!("saga {key} is changing all the time: try again");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// The log's clock: a lease tells it.
    async fn now(&self) -> Result<Timestamp, Error> {
        let owner = format!("operator-{}", RunId::random());
        let lease = self.log.lease(&owner, None, GLANCE).await?;
        self.log.release(&owner, lease.epoch).await?;
        Ok(lease.now)
    }

    async fn is_there(&self, key: &SagaKey, run: RunId, place: usize, entry: &Entry) -> Result<bool, Error> {
        Ok(match self.record(key).await? {
            Record::Stored(stored) => stored.run == run && stored.entries.get(place) == Some(entry),
            Record::Tombstone(_) => false,
        })
    }

    /// Waits until a coordinator has taken the input that stands at this place.
    async fn taken(&self, key: &SagaKey, run: RunId, place: usize, held: &Entry) -> Result<Answer, Error> {
        let mut waited = Duration::ZERO;
        loop {
            match self.record(key).await? {
                Record::Stored(stored) if stored.run == run => {
                    if let Some(answer) = answer::found(&stored, place) {
                        return answer;
                    }
                }
                Record::Stored(_) => return Ok(Answer::Noted),
                Record::Tombstone(tombstone) => {
                    let mut audit = self.log.audit(Some(key.clone()), AUDIT_SHOWN_MAX).await?;
                    audit.retain(|line| line.run == run);
                    return answer::of_pruned(&audit, held, tombstone.ending.into());
                }
            }
            if waited >= self.wait {
                return Ok(Answer::Noted);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            waited += LOOK_INTERVAL;
        }
    }

    async fn record(&self, key: &SagaKey) -> Result<Record, Error> {
        let record = self.log.load(std::slice::from_ref(key)).await.pop();
        record
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Retry, "the saga log gave no answer")))?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no saga {key}")))
    }
}

/// The saga is due at once, and whoever wakes it first has it.
fn append_of(key: &SagaKey, stored: StoredSaga, entry: Entry) -> Append {
    Append {
        key: key.clone(),
        run: stored.run,
        definition: stored.definition,
        expected: stored.version,
        wake_at: Some(entry.at),
        entries: vec![entry],
        status: stored.status,
        owner: None,
        settled: None,
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("log", &self.log).field("wait", &self.wait).finish()
    }
}
