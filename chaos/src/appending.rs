//! A saga log to which is appended in a way of its own; everything else is left as it is.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::Error;
use saga::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga::record::{DefinitionRef, Outline, SagaKey};

pub(crate) type Answers = Vec<Result<Version, AppendError>>;

/// The way of appending.
#[async_trait]
pub(crate) trait Appends: Debug + Send + Sync {
    async fn append(&self, log: &Arc<dyn SagaLog>, batch: Vec<Append>) -> Answers;
}

/// The log.
#[derive(Debug)]
pub(crate) struct Appending<A> {
    pub(crate) log: Arc<dyn SagaLog>,
    pub(crate) how: A,
}

#[async_trait]
impl<A: Appends> SagaLog for Appending<A> {
    async fn append(&self, batch: Vec<Append>) -> Answers {
        self.how.append(&self.log, batch).await
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        self.log.load(keys).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.log.lease(owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.log.release(owner, epoch).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        self.log.wake(owner, epoch, definitions, max).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.log.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.log.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.log.describe(outlines).await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.log.audit(key, limit).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.log.outlines().await
    }
}
