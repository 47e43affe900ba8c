use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::Error;
use saga::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga::record::{DefinitionRef, Outline, SagaKey};

use super::{fatal, survive};
use crate::gate::die;
use crate::job::STEPS;

/// A saga log, past the gate.
#[derive(Debug)]
pub(crate) struct GatedLog(pub(crate) Arc<dyn SagaLog>);

/// What an append says, by its first fact, from which the others follow. Its name is the one that it is stored under: so one that is new has a
/// name, too.
fn named(append: &Append) -> String {
    let Some(first) = append.entries.first() else { return "appending nothing".to_owned() };
    let first = serde_json::to_value(first).unwrap_or_default();
    let fact = first["fact"].as_str().unwrap_or("a fact without a name");
    let step = first["step"].as_u64().and_then(|step| STEPS.get(usize::try_from(step).ok()?));
    step.map_or_else(|| format!("appending {fact}"), |step| format!("appending {fact} of {step}"))
}

#[async_trait]
impl SagaLog for GatedLog {
    async fn append(&self, mut batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        let whats: Vec<_> = batch.iter().map(named).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            self.0.append(batch).await;
            die();
        }
        let answers = self.0.append(batch).await;
        survive(whats.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(what, _)| what));
        answers
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

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        self.0.wake(owner, epoch, definitions, max).await
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
