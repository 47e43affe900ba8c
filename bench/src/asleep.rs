//! A log that wakes nobody.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::Error;
use saga_core::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga_core::record::{DefinitionRef, Outline, SagaKey};

/// The log within it, as if nothing in it were due.
#[derive(Debug)]
pub(crate) struct Asleep(pub(crate) Arc<dyn SagaLog>);

#[async_trait]
impl SagaLog for Asleep {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        self.0.append(batch).await
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        self.0.load(keys).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.0.lease(owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.0.release(owner, epoch).await
    }

    async fn wake(&self, _: &str, _: u64, _: &[DefinitionRef], _: usize) -> Result<Vec<Woken>, Error> {
        Ok(Vec::new())
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.0.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.0.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.0.describe(outlines).await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.0.audit(key, limit).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.0.outlines().await
    }
}
