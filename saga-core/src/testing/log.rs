use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::recorder::Recorder;
use crate::error::Error;
use crate::memory::{MemoryLog, lock};
use crate::ports::{
    Append, AppendError, Audited, Census, Clock, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use crate::record::{DefinitionRef, Outline, SagaKey, Timestamp};

/// The in-memory log, writing down what is appended.
///
/// It answers `wake` only when a saga is due, where another log would say "none" ten times a second: an hour of virtual time in which
/// nothing happens is one step.
#[derive(Debug)]
pub(super) struct RecordingLog {
    inner: MemoryLog,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
    due: Mutex<HashMap<SagaKey, Timestamp>>,
    sooner: Notify,
}

/// How long it waits at least before it looks again, and at most.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(600);

impl RecordingLog {
    pub(super) fn new(clock: Arc<dyn Clock>, recorder: Arc<Recorder>) -> Self {
        let inner = MemoryLog::builder().clock(Arc::clone(&clock)).strict_storage(true).build();
        Self { inner, clock, recorder, due: Mutex::default(), sooner: Notify::new() }
    }

    fn note(&self, append: &Append) {
        self.recorder.appended(append);
        let mut due = lock(&self.due);
        match append.wake_at.filter(|_| append.settled.is_none()) {
            Some(at) if due.insert(append.key.clone(), at).is_none_or(|before| at < before) => {
                self.sooner.notify_waiters();
            }
            Some(_) => {}
            None => drop(due.remove(&append.key)),
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let next = lock(&self.due).values().min().copied();
        next.map(|at| at.since(self.clock.now()))
    }
}

#[async_trait]
impl SagaLog for RecordingLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        let answers = self.inner.append(batch.clone()).await;
        for (append, answer) in batch.iter().zip(&answers) {
            if answer.is_ok() {
                self.note(append);
            }
        }
        answers
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        self.inner.load(keys).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.inner.lease(owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.inner.release(owner, epoch).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        loop {
            let sooner = self.sooner.notified();
            let woken = self.inner.wake(owner, epoch, definitions, max).await?;
            if !woken.is_empty() {
                return Ok(woken);
            }
            let wait = self.next_due().unwrap_or(LOOK_AGAIN_MAX).clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX);
            tokio::select! {
                biased;
                () = sooner => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.inner.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.inner.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.inner.describe(outlines).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.inner.outlines().await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.inner.audit(key, limit).await
    }
}
