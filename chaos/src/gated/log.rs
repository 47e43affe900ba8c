use std::sync::Arc;

use async_trait::async_trait;
use saga::ports::{Append, SagaLog};

use super::{fatal, survive};
use crate::appending::{Answers, Appends};
use crate::gate::die;
use crate::job::STEPS;

/// Appending past the gate.
#[derive(Debug)]
pub(crate) struct Gated;

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
impl Appends for Gated {
    async fn append(&self, log: &Arc<dyn SagaLog>, mut batch: Vec<Append>) -> Answers {
        let whats: Vec<_> = batch.iter().map(named).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            log.append(batch).await;
            die();
        }
        let answers = log.append(batch).await;
        survive(whats.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(what, _)| what));
        answers
    }
}
