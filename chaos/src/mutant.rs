//! Rules broken on purpose: a ledger that finds nothing then proves nothing.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{
    Append, AppendError, Audited, Census, Claim, ClaimAnswer, ClaimToken, Completed, Completion, Inbox,
    Lease, Performed, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga::record::{DefinitionRef, Outline, SagaKey};
use saga::{Error, Timestamp};

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Participants run every command they get.
    NoBarrier,
    /// The coordinator acknowledges what it has not yet appended.
    AcknowledgeBeforeAppend,
    /// A lease never runs out.
    NoTakeOver,
}

const NAMES: [(Mutant, &str); 3] = [
    (Mutant::NoBarrier, "no-barrier"),
    (Mutant::AcknowledgeBeforeAppend, "acknowledge-before-append"),
    (Mutant::NoTakeOver, "no-take-over"),
];

impl Mutant {
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(mutant, _)| *mutant == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Mutant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(mutant, _)| *mutant).ok_or_else(|| format!("there is no mutant {text:?}"))
    }
}

/// No barrier: whatever comes is run.
#[derive(Debug)]
pub(crate) struct NoBarrier;

#[async_trait]
impl Inbox for NoBarrier {
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        let run = |claim: Claim| {
            let token = ClaimToken(0);
            Ok(ClaimAnswer::Run { token, action: claim.action, attempt: 1, output: None })
        };
        batch.into_iter().map(run).collect()
    }

    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        let answer = |completion: Completion| match completion.performed {
            Performed::Final(report) => Ok(Completed::Reply(report)),
            Performed::Again => Ok(Completed::Free),
        };
        batch.into_iter().map(answer).collect()
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        Ok(Timestamp::default())
    }

    async fn prune(&self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }
}

/// Says that it has appended, and does so a little later.
#[derive(Debug)]
pub(crate) struct LateLog {
    pub(crate) log: Arc<dyn SagaLog>,
}

const LATE_BY: Duration = Duration::from_millis(500);

#[async_trait]
impl SagaLog for LateLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        let answers = batch.iter().map(|append| Ok(append.expected + append.entries.len() as u64)).collect();
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            tokio::time::sleep(LATE_BY).await;
            log.append(batch).await;
        });
        answers
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
