use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error as ThisError;
use tokio::sync::{mpsc, oneshot};

use super::engine::Shared;
use super::input::{Addressed, CancelInput, From, Input, OperateInput, StartInput};
use super::outcome::Outcome;
use crate::definition::Saga;
use crate::error::{Error, ErrorKind};
use crate::machine::{Instance, View};
use crate::ports::{DeadLetter, Query, Record, StoredSaga, Summary};
use crate::record::{InvalidName, NamedVerb, Resolution, RunId, SagaId, SagaKey, Status};
use crate::wire::Command;

/// A handle to start, see and operate the sagas of one definition. Cloning it is cheap.
///
/// Its calls reach the coordinator that it was made by; while that is not running, they wait. Every call can be repeated: starting,
/// cancelling and awaiting are idempotent.
pub struct Sagas<In> {
    shared: Arc<Shared>,
    saga: Saga<In>,
    traceparent: Option<Arc<str>>,
}

/// A saga was started, or had been before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// Which start of the id it is.
    pub run: RunId,
    /// Whether this call started it.
    pub is_new: bool,
    /// Where it stands.
    pub status: Status,
}

/// Why a saga was not started.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum StartError {
    /// The id is empty, too long, or has control characters.
    #[error(transparent)]
    InvalidId(#[from] InvalidName),
    /// The input cannot be written as JSON.
    #[error(transparent)]
    InvalidInput(Error),
    /// There is a saga of that id with another input.
    #[error(
        "there is a saga of that id with another input (run {run}); use another id for another business action"
    )]
    InputDiffers {
        /// The run of that one.
        run: RunId,
    },
    /// It may or may not have been started; starting again with the same id is safe.
    #[error(transparent)]
    Failed(Error),
}

impl StartError {
    /// What may be done about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidId(_) | Self::InvalidInput(_) => ErrorKind::Invalid,
            Self::InputDiffers { .. } => ErrorKind::Conflict,
            Self::Failed(error) => error.kind(),
        }
    }
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The saga is being undone, by this request or for another reason.
    Cancelling,
    /// It has ended, or passed the point of no return: it stays as it is or goes on.
    TooLate(Status),
}

impl<In: Serialize + DeserializeOwned + Send + Sync + 'static> Sagas<In> {
    /// Starts a saga under the user's own id. Starting twice is starting once. It is durable when this returns.
    ///
    /// Waits while [`sagas_in_flight_max`](super::CoordinatorOptions::sagas_in_flight_max) sagas are unfinished. Dropping the future leaves
    /// open whether it was started.
    ///
    /// # Errors
    /// [`StartError::InputDiffers`] when the id is taken by another input.
    pub async fn start(&self, id: impl AsRef<str>, input: &In) -> Result<Started, StartError> {
        self.send_start(id.as_ref(), input, None).await
    }

    /// Starts a saga and waits for its outcome: until it has ended or is parked.
    ///
    /// Dropping the future leaves the saga running.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn run(&self, id: impl AsRef<str>, input: &In) -> Result<Outcome, StartError> {
        let (waiter, outcome) = oneshot::channel();
        self.send_start(id.as_ref(), input, Some(waiter)).await?;
        self.told_or_recorded(&self.key(id.as_ref())?, outcome).await.map_err(StartError::Failed)
    }

    async fn send_start(
        &self,
        id: &str,
        input: &In,
        waiter: Option<oneshot::Sender<Outcome>>,
    ) -> Result<Started, StartError> {
        let key = self.key(id)?;
        let (answer, answered) = oneshot::channel();
        let start = StartInput {
            definition: Arc::clone(self.saga.definition()),
            run: self.shared.run_ids.draw(),
            input: self.saga.encode_input(input).map_err(StartError::InvalidInput)?,
            traceparent: self.traceparent.clone(),
            from: From::Call(answer),
            waiter,
        };
        send(&self.shared.starts, (key, Input::Start(start))).await.map_err(StartError::Failed)?;
        answered.await.map_err(|_| StartError::Failed(stopped()))?
    }
}

impl<In> Sagas<In> {
    pub(super) fn new(shared: Arc<Shared>, saga: &Saga<In>) -> Result<Self, Error> {
        if shared.registry.pinned(saga.id()).is_none() {
            let message = format!("{} is not registered with this coordinator", saga.id());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(Self { shared, saga: saga.clone(), traceparent: None })
    }

    /// A handle whose starts carry this W3C trace context: it reaches every command, handler, reply and callback of the saga.
    #[must_use]
    pub fn traced(&self, traceparent: impl Into<Arc<str>>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self.clone() }
    }

    /// Waits until the saga has ended or is parked: is told when its coordinator is this one, and looks into the log now and then, first
    /// soon and then ever less often ([`outcome_poll_interval`](super::CoordinatorOptions::outcome_poll_interval)).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga.
    pub async fn outcome(&self, id: impl AsRef<str>) -> Result<Outcome, Error> {
        let key = self.key(id.as_ref()).map_err(invalid)?;
        let told = self.ask_to_be_told(&key).await?;
        match self.recorded_outcome(&key).await? {
            Some(outcome) => Ok(outcome),
            None => self.told_or_recorded(&key, told).await,
        }
    }

    /// Nobody tells of a saga that another coordinator has gone on with: whoever waits is late by a quarter of that, and while it seems to be here by as long
    /// again, within the limits of [`outcome_poll_interval`](super::CoordinatorOptions::outcome_poll_interval). Mostly it is here, and reading and
    /// replaying a saga costs more than deciding about it: where no other coordinator was met, only so often in all.
    async fn told_or_recorded(
        &self,
        key: &SagaKey,
        mut told: oneshot::Receiver<Outcome>,
    ) -> Result<Outcome, Error> {
        let pause_max = self.shared.options.outcome_poll_interval;
        let mut waited = Duration::ZERO;
        let mut is_here = true;
        loop {
            let (pause, least) =
                if is_here { (waited, pause_max / 40) } else { (waited / 4, pause_max / 100) };
            let pause = pause.clamp(least, pause_max);
            waited = waited.saturating_add(pause);
            let mut again = self.shared.clock.sleep(pause);
            tokio::select! {
                biased;
                answer = &mut told => match answer {
                    Ok(outcome) => return Ok(outcome),
                    // It is not here. It may have been, and have ended since the log was read.
                    Err(_) => {
                        is_here = false;
                        if let Some(outcome) = self.recorded_outcome(key).await? {
                            return Ok(outcome);
                        }
                        again.await;
                        told = self.ask_to_be_told(key).await?;
                    }
                },
                () = &mut again => is_here = true,
            }
            if is_here && !self.shared.others.may_look(self.shared.clock.now()) {
                continue;
            }
            if let Some(outcome) = self.recorded_outcome(key).await? {
                return Ok(outcome);
            }
        }
    }

    /// An answer comes when the saga ends here; none if it is not here, or no longer.
    async fn ask_to_be_told(&self, key: &SagaKey) -> Result<oneshot::Receiver<Outcome>, Error> {
        let (waiter, told) = oneshot::channel();
        send(&self.shared.requests, (key.clone(), Input::Await(waiter))).await?;
        Ok(told)
    }

    async fn recorded_outcome(&self, key: &SagaKey) -> Result<Option<Outcome>, Error> {
        Ok(match self.record(key).await? {
            Record::Tombstone(tombstone) => {
                Some(Outcome::of_tombstone(&tombstone, Some(self.saga.definition())))
            }
            Record::Stored(stored) => Outcome::of(&self.replay(key, &stored)?),
        })
    }

    /// The saga as it stands. `None` when it has ended so long ago that only its tombstone is left: [`outcome`](Self::outcome) has that.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga; [`Corrupt`](ErrorKind::Corrupt) when its record cannot be read.
    pub async fn status(&self, id: impl AsRef<str>) -> Result<Option<View>, Error> {
        let key = self.key(id.as_ref()).map_err(invalid)?;
        match self.record(&key).await? {
            Record::Tombstone(_) => Ok(None),
            Record::Stored(stored) => Ok(Some(self.replay(&key, &stored)?.view())),
        }
    }

    /// What happened to the saga: its entries, operators' actions included. Empty when only its tombstone is left.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga.
    pub async fn history(&self, id: impl AsRef<str>) -> Result<Vec<crate::record::Entry>, Error> {
        let key = self.key(id.as_ref()).map_err(invalid)?;
        match self.record(&key).await? {
            Record::Tombstone(_) => Ok(Vec::new()),
            Record::Stored(stored) => Ok(stored.entries),
        }
    }

    /// Lists sagas of this name, in the order of their ids: those of one status, or all; at most `limit`, after the id where the last page
    /// ended.
    ///
    /// # Errors
    /// [`Retry`](ErrorKind::Retry) when the log is away.
    pub async fn list(
        &self,
        status: Option<Status>,
        after: Option<&SagaId>,
        limit: usize,
    ) -> Result<Vec<Summary>, Error> {
        let saga = Arc::clone(&self.saga.id().name);
        let after = after.map(|id| SagaKey { saga: Arc::clone(&saga), id: id.clone() });
        self.shared.log.list(Query { saga: Some(saga), status, after, limit }).await
    }

    /// Asks for a saga to be undone. `who` and `why` are kept in its record.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such saga.
    pub async fn cancel(&self, id: impl AsRef<str>, who: &str, why: &str) -> Result<CancelAnswer, Error> {
        let key = self.key(id.as_ref()).map_err(invalid)?;
        let (answer, answered) = oneshot::channel();
        let cancel = CancelInput { run: None, who: who.into(), why: why.into(), from: From::Call(answer) };
        send(&self.shared.requests, (key, Input::Cancel(cancel))).await?;
        answered.await.map_err(|_| stopped())?
    }

    /// Tries what is stuck again, in a new round: one step, or everything, a refused callback included. `who` and `why` are kept in its record.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when nothing is stuck; [`NotFound`](ErrorKind::NotFound) when there is no such saga or step.
    pub async fn retry(
        &self,
        id: impl AsRef<str>,
        step: Option<&str>,
        who: &str,
        why: &str,
    ) -> Result<(), Error> {
        self.operate(id.as_ref(), NamedVerb::Retry { step: step.map(Into::into) }, who, why).await
    }

    /// Tries the step again whose command is this dead letter, in a new round, as [`retry`](Self::retry) does. The letter itself stays as
    /// evidence. `who` and `why` are kept in the saga's record.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the letter is no command of a saga of this name; [`NotAllowed`](ErrorKind::NotAllowed) when the
    /// step is not stuck, as when the saga has moved on; [`NotFound`](ErrorKind::NotFound) when its saga has been pruned.
    pub async fn redrive(&self, letter: &DeadLetter, who: &str, why: &str) -> Result<(), Error> {
        let message = &letter.message;
        let command = Command::parse(message).map_err(|malformed| {
            let text =
                format!("dead letter {} of topic {} is no command of a saga", message.id, message.topic);
            Error::new(ErrorKind::Invalid, text).with_source(malformed)
        })?;
        if command.key.saga != self.saga.id().name {
            let (id, saga) = (&message.id, &command.key.saga);
            let text = format!("dead letter {id} is of saga {saga}, not of {}", self.saga.id().name);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        self.retry(command.key.id.as_str(), Some(&command.step), who, why).await
    }

    /// Declares what a stuck or silent step is. It takes effect once the step's barrier row is sealed, so that a stale command cannot run
    /// afterwards. `who` and `why` are kept in its record.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when the step does not wait for a decision, or not for that one.
    pub async fn resolve(
        &self,
        id: impl AsRef<str>,
        step: &str,
        resolution: Resolution,
        who: &str,
        why: &str,
    ) -> Result<(), Error> {
        self.operate(id.as_ref(), NamedVerb::Resolve { step: step.into(), resolution }, who, why).await
    }

    /// Ends a saga as it stands, whatever is done or not; or, of one that has ended, gives its refused callback up. `who` and `why` are kept in its
    /// record.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) when it has ended.
    pub async fn abandon(&self, id: impl AsRef<str>, who: &str, why: &str) -> Result<(), Error> {
        self.operate(id.as_ref(), NamedVerb::Abandon, who, why).await
    }

    async fn operate(&self, id: &str, verb: NamedVerb, who: &str, why: &str) -> Result<(), Error> {
        let key = self.key(id).map_err(invalid)?;
        let (answer, answered) = oneshot::channel();
        let operate = OperateInput { verb, who: who.into(), why: why.into(), answer };
        send(&self.shared.requests, (key, Input::Operate(operate))).await?;
        answered.await.map_err(|_| stopped())?
    }

    fn key(&self, id: &str) -> Result<SagaKey, InvalidName> {
        Ok(SagaKey { saga: Arc::clone(&self.saga.id().name), id: SagaId::new(id)? })
    }

    async fn record(&self, key: &SagaKey) -> Result<Record, Error> {
        let record = self.shared.log.load(std::slice::from_ref(key)).await.pop();
        record
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Retry, "the saga log gave no answer")))?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no saga {key}")))
    }

    fn replay(&self, key: &SagaKey, stored: &StoredSaga) -> Result<Instance, Error> {
        let definition = self.shared.registry.pinned(&stored.definition).ok_or_else(|| {
            let message =
                format!("saga {key} is pinned to {}, which is not registered here", stored.definition);
            Error::new(ErrorKind::NotFound, message)
        })?;
        Instance::replay(Arc::clone(definition), &stored.entries)
            .map_err(|corrupt| Error::new(ErrorKind::Corrupt, format!("saga {key}")).with_source(corrupt))
    }
}

fn invalid(error: InvalidName) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

async fn send(to: &mpsc::Sender<Addressed>, request: Addressed) -> Result<(), Error> {
    to.send(request).await.map_err(|_| stopped())
}

/// The error of a call on a coordinator that is no longer there.
fn stopped() -> Error {
    Error::new(
        ErrorKind::Stopped,
        "the coordinator is shutting down; ask again once it runs, with the same id",
    )
}

impl<In> Clone for Sagas<In> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            saga: self.saga.clone(),
            traceparent: self.traceparent.clone(),
        }
    }
}

impl<In> fmt::Debug for Sagas<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sagas").field("saga", self.saga.id()).finish_non_exhaustive()
    }
}
