//! A tap on the log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use saga::Error;
use saga::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga::record::{DefinitionRef, Outline, SagaKey};
use tokio::sync::watch;

/// Writes down which sagas are appended to.
#[derive(Debug)]
pub(crate) struct TapLog {
    inner: Arc<dyn SagaLog>,
    append_takes: Duration,
    holds_wakes: watch::Sender<bool>,
    appended: Mutex<Vec<SagaKey>>,
}

impl TapLog {
    pub(crate) fn new(inner: Arc<dyn SagaLog>) -> Self {
        let holds_wakes = watch::Sender::new(false);
        Self { inner, append_takes: Duration::ZERO, holds_wakes, appended: Mutex::default() }
    }

    /// On a slow disk.
    pub(crate) fn slow(inner: Arc<dyn SagaLog>) -> Self {
        Self { append_takes: Duration::from_millis(100), ..Self::new(inner) }
    }

    /// Whoever asks what is due has no answer until this is lifted.
    pub(crate) fn hold_wakes(&self, hold: bool) {
        self.holds_wakes.send_replace(hold);
    }

    /// How often a saga was appended to.
    pub(crate) fn appends_to(&self, id: &str) -> usize {
        self.appended.lock().unwrap().iter().filter(|key| key.id.as_str() == id).count()
    }
}

#[async_trait]
impl SagaLog for TapLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        tokio::time::sleep(self.append_takes).await;
        self.appended.lock().unwrap().extend(batch.iter().map(|append| append.key.clone()));
        self.inner.append(batch).await
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
        let mut holds = self.holds_wakes.subscribe();
        holds.wait_for(|holds| !holds).await.expect("the sender is here");
        self.inner.wake(owner, epoch, definitions, max).await
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
