mod builder;
mod faults;
mod list;
mod owners;
mod places;
mod sagas;
mod state;
mod tombs;
mod wakes;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

pub use self::builder::MemoryLogBuilder;
use self::faults::LogFaultSource;
pub use self::faults::LogFaults;
use self::state::State;
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::{
    Append, AppendError, Audited, Census, Clock, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use crate::record::{DefinitionRef, Entry, Outline, SagaKey, Timestamp};

/// A [`SagaLog`] in this process. Cloning shares it: a coordinator that is dropped and built anew finds its sagas and leases again.
///
/// - What it holds is gone with the last clone.
/// - It compares and sets as the contract says, and also refuses as a conflict what is meant for another run of the same id.
/// - Of a settled saga a tombstone stays, for the idempotency window and within the limits of [`MemoryLogBuilder`]; its entries go at once.
///   A tombstone takes less than 200 bytes all in all, for an id of up to 40 bytes and a saga that completed; a cause comes on top.
/// - Listing passes over everything there is, and holds up appends meanwhile: about a tenth of a second for a million tombstones.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    limits: Limits,
    strict_storage: bool,
    faults: Mutex<LogFaultSource>,
    /// Taken once for a batch, and never held across an await.
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct Limits {
    idempotency_window: Duration,
    tombstones_max: usize,
}

impl MemoryLog {
    /// A log with the default limits and without faults.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// For other limits, another clock, or faults.
    pub const fn builder() -> MemoryLogBuilder {
        MemoryLogBuilder::new()
    }

    /// From now on these faults, drawn from the beginning of their seed, for all clones.
    pub fn set_faults(&self, faults: LogFaults) {
        *lock(&self.inner.faults) = LogFaultSource::new(faults);
    }

    /// Does what one call but `append` asks, with the log's state and the time, unless the log is away.
    async fn call<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut State, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // A log that is always ready would starve the other tasks of its thread.
        tokio::task::coop::consume_budget().await;
        lock(&self.inner.faults).of_call(name)?;
        let now = self.inner.clock.now();
        work(&mut lock(&self.inner.state), now)
    }
}

/// Without the sagas: their entries carry personal data.
impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl SagaLog for MemoryLog {
    async fn append(&self, mut batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        tokio::task::coop::consume_budget().await;
        let Inner { clock, limits, strict_storage, faults, state } = &*self.inner;
        let mut corrupt: Vec<Option<Error>> = Vec::new();
        if *strict_storage {
            corrupt = batch.iter_mut().map(|append| store_and_read(append).err()).collect();
        }
        let fates = lock(faults).of_batch(batch.len());
        let mut state = lock(state);
        let now = clock.now();
        let mut answers = Vec::with_capacity(batch.len());
        for (nth, append) in batch.into_iter().enumerate() {
            let fate = fates.as_ref().map(|fates| fates[nth]).unwrap_or_default();
            let answer = match corrupt.get_mut(nth).and_then(Option::take) {
                Some(error) => Err(AppendError::Failed(error)),
                None if fate.takes_effect() => state.append(append, now, limits),
                None => Ok(append.expected),
            };
            answers.push(answer.and_then(|version| fate.error().map_or(Ok(version), Err)));
        }
        state.tidy(now, limits);
        answers
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        let limits = &self.inner.limits;
        let read = |state: &mut State, now| Ok(keys.iter().map(|key| state.load(key, now, limits)).collect());
        match self.call::<Vec<_>>("load", read).await {
            Ok(records) => records.into_iter().map(Ok).collect(),
            Err(error) => keys.iter().map(|_| Err(Error::new(error.kind(), error.to_string()))).collect(),
        }
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.call("lease", |state, now| state.owners.lease(owner, epoch, ttl, now)).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.call("release", |state, now| {
            state.owners.release(owner, epoch, now);
            Ok(())
        })
        .await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        self.call("wake", |state, now| {
            let owner = state.owners.alive(owner, epoch, now)?;
            Ok(state.wake(owner, definitions, max, now))
        })
        .await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.call("list", |state, now| Ok(state.list(&query, now, &self.inner.limits))).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.call("census", |state, _| Ok(state.census())).await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        let described = outlines.iter().map(|outline| (outline.definition.clone(), outline.clone()));
        self.call("describe", |state, _| {
            state.outlines.extend(described);
            Ok(())
        })
        .await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.call("audit", |state, _| {
            let is_of = |line: &&Audited| key.as_ref().is_none_or(|key| line.key == *key);
            Ok(state.audit.iter().filter(is_of).take(limit).cloned().collect())
        })
        .await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.call("outlines", |state, _| Ok(state.outlines.values().cloned().collect())).await
    }
}

/// Puts in place of each entry what is read back of it.
fn store_and_read(append: &mut Append) -> Result<(), Error> {
    for entry in &mut append.entries {
        let corrupt = |message| Error::new(ErrorKind::Corrupt, format!("saga {}: {message}", append.key));
        let stored = serde_json::to_vec(entry)
            .map_err(|error| corrupt("an entry cannot be written".into()).with_source(error))?;
        let read: Entry = serde_json::from_slice(&stored)
            .map_err(|error| corrupt("an entry cannot be read back".into()).with_source(error))?;
        if read != *entry {
            return Err(corrupt(format!("an entry comes back changed: {entry:?} as {read:?}")));
        }
        *entry = read;
    }
    Ok(())
}
