use std::sync::Arc;

use async_trait::async_trait;
use saga::ports::{Claim, ClaimAnswer, Completed, Completion, Inbox, Performed};
use saga::{Error, Timestamp};

use super::{fatal, survive};
use crate::gate::die;

/// An inbox, past the gate.
#[derive(Debug)]
pub(crate) struct GatedInbox(pub(crate) Arc<dyn Inbox>);

#[async_trait]
impl Inbox for GatedInbox {
    async fn claim(&self, mut batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        let what = |claim: &Claim| format!("claiming to {} {}", claim.action, claim.task.step);
        let whats: Vec<_> = batch.iter().map(what).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            self.0.claim(batch).await;
            die();
        }
        let answers = self.0.claim(batch).await;
        survive(whats.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(what, _)| what));
        answers
    }

    async fn complete(&self, mut batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        let what = |completion: &Completion| {
            let end = if completion.performed == Performed::Again { "freeing" } else { "completing" };
            format!("{end} {}", completion.task.step)
        };
        let whats: Vec<_> = batch.iter().map(what).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            self.0.complete(batch).await;
            die();
        }
        let answers = self.0.complete(batch).await;
        survive(whats.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(what, _)| what));
        answers
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        self.0.horizon().await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        self.0.prune(before).await
    }
}
