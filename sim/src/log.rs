//! The in-memory log as a coordinator reaches it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga_core::record::{DefinitionRef, Outline, SagaKey};
use saga_core::{Error, ErrorKind};

use crate::bus::{away, check};
use crate::chance::happens;
use crate::coverage::{Fault, Sight};
use crate::mutants::Mutant;
use crate::process::{Edge, Port, Process};

/// A coordinator's connection to the log.
#[derive(Debug)]
pub(crate) struct SimLog {
    pub(crate) process: Arc<Process>,
}

/// What becomes of an append.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Lost,
    DoneUnknown,
    LostUnknown,
    Conflict,
}

/// Whether an answer comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Comes,
    Lost,
}

impl SimLog {
    fn fate(&self) -> Fate {
        let world = &self.process.world;
        let Some((storm, mut rng)) = world.log_storm() else { return Fate::Fine };
        let (fate, fault) = if happens(&mut rng, storm.lost) {
            (Fate::Lost, Fault::AppendLost)
        } else if happens(&mut rng, storm.unknown) {
            if rng.bool() {
                (Fate::DoneUnknown, Fault::AppendDoneUnknown)
            } else {
                (Fate::LostUnknown, Fault::AppendLostUnknown)
            }
        } else if happens(&mut rng, storm.conflict) {
            (Fate::Conflict, Fault::AppendConflict)
        } else {
            return Fate::Fine;
        };
        world.coverage.fault(fault);
        fate
    }

    async fn append_one(&self, append: Append) -> Result<Version, AppendError> {
        let world = &self.process.world;
        let fate = self.fate();
        let reached = append.expected + append.entries.len() as Version;
        let unknown = || match world.mutant {
            Some(Mutant::UnknownTakenForSuccess) => Ok(reached),
            _ => Err(AppendError::Unknown(Error::new(ErrorKind::Unknown, "no answer: simulated"))),
        };
        match fate {
            Fate::Lost => return Err(AppendError::Failed(away())),
            Fate::LostUnknown => return unknown(),
            Fate::Conflict => return Err(AppendError::Conflict),
            Fate::Fine | Fate::DoneUnknown => {}
        }
        if append.entries.is_empty() && world.mutant == Some(Mutant::StaleDecisionSettled) {
            return Ok(reached);
        }
        let result = self.store(self.mutated(append)).await;
        match (result, world.mutant) {
            (Err(AppendError::Conflict), Some(Mutant::ConflictTakenForSuccess)) => Ok(reached),
            (Ok(_), _) if fate == Fate::DoneUnknown => unknown(),
            (result, _) => result,
        }
    }

    async fn store(&self, mut append: Append) -> Result<Version, AppendError> {
        let world = &self.process.world;
        let mut result = world.log.append(vec![append.clone()]).await.remove(0);
        if matches!(result, Err(AppendError::Conflict)) {
            world.coverage.sight(Sight::Conflict);
            world
                .trace
                .say(&self.process.name, || format!("conflict for {} at {}", append.key, append.expected));
            if world.mutant == Some(Mutant::NoCompareAndSet)
                && let Ok(Some(Record::Stored(stored))) =
                    world.log.load(&[append.key.clone()]).await.remove(0)
            {
                (append.expected, append.run) = (stored.version, stored.run);
                result = world.log.append(vec![append.clone()]).await.remove(0);
            }
        }
        if result.is_ok() {
            world.appended(&self.process, &append);
        }
        result
    }

    fn mutated(&self, mut append: Append) -> Append {
        match self.process.world.mutant {
            Some(Mutant::EntryLost) if append.entries.len() > 1 => drop(append.entries.pop()),
            Some(Mutant::WakeForgotten) => append.wake_at = None,
            _ => {}
        }
        append
    }

    /// Begins a call that is not an append. Whatever it says may be lost: then it was done all the same.
    async fn call(&self, port: Port) -> Result<Answer, Error> {
        self.process.pass(port, Edge::Before).await;
        check(&self.process, port).await?;
        let coverage = &self.process.world.coverage;
        let Some((storm, mut rng)) = self.process.world.log_storm() else { return Ok(Answer::Comes) };
        if !happens(&mut rng, storm.away) {
            return Ok(Answer::Comes);
        }
        if rng.bool() {
            coverage.fault(Fault::LogAnswerLost);
            return Ok(Answer::Lost);
        }
        coverage.fault(Fault::LogAway);
        Err(away())
    }

    /// Ends such a call.
    async fn answer<T>(&self, port: Port, answer: Answer, result: Result<T, Error>) -> Result<T, Error> {
        self.process.pass(port, Edge::After).await;
        match answer {
            Answer::Lost => Err(away()),
            Answer::Comes => result,
        }
    }
}

#[async_trait]
impl SagaLog for SimLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        self.process.pass(Port::Append, Edge::Before).await;
        if check(&self.process, Port::Append).await.is_err() {
            return batch.iter().map(|_| Err(AppendError::Failed(away()))).collect();
        }
        let mut answers = Vec::with_capacity(batch.len());
        for append in batch {
            answers.push(self.append_one(append).await);
        }
        self.process.pass(Port::Append, Edge::After).await;
        answers
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        if self.call(Port::Load).await.is_err() {
            return keys.iter().map(|_| Err(away())).collect();
        }
        let records = self.process.world.log.load(keys).await;
        self.process.pass(Port::Load, Edge::After).await;
        records
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        let answer = self.call(Port::Lease).await?;
        let world = &self.process.world;
        let ttl = if world.mutant == Some(Mutant::NoTakeOver) { Duration::from_secs(1 << 30) } else { ttl };
        let lease = world.log.lease(owner, epoch, ttl).await;
        if lease.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
            world.coverage.sight(Sight::LeaseLost);
        }
        self.answer(Port::Lease, answer, lease).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        let answer = self.call(Port::Lease).await?;
        let released = self.process.world.log.release(owner, epoch).await;
        self.answer(Port::Lease, answer, released).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        let answer = self.call(Port::Wake).await?;
        let world = &self.process.world;
        let mut woken = world.log.wake(owner, epoch, definitions, max).await;
        for woken in woken.iter().flatten() {
            if woken.taken_over {
                world.coverage.sight(Sight::TakenOver);
            }
            world.trace.say(&self.process.name, || {
                format!("wakes {}{}", woken.key, if woken.taken_over { ", taken over" } else { "" })
            });
        }
        if world.mutant == Some(Mutant::TakeOverUnmarked) {
            woken.iter_mut().flatten().for_each(|woken| woken.taken_over = false);
        }
        self.answer(Port::Wake, answer, woken).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.call(Port::Load).await?;
        self.process.world.log.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.call(Port::Load).await?;
        self.process.world.log.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.call(Port::Load).await?;
        self.process.world.log.describe(outlines).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.call(Port::Load).await?;
        self.process.world.log.outlines().await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.call(Port::Load).await?;
        self.process.world.log.audit(key, limit).await
    }
}
