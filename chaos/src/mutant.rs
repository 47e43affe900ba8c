//! Rules broken on purpose: a ledger that finds nothing then proves nothing.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{Append, Claim, ClaimAnswer, ClaimToken, Completed, Completion, Inbox, Performed, SagaLog};
use saga::{Error, Timestamp};

use crate::appending::{Answers, Appends};

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
pub(crate) struct Late;

const LATE_BY: Duration = Duration::from_millis(500);

#[async_trait]
impl Appends for Late {
    async fn append(&self, log: &Arc<dyn SagaLog>, batch: Vec<Append>) -> Answers {
        let answers = batch.iter().map(|append| Ok(append.expected + append.entries.len() as u64)).collect();
        let log = Arc::clone(log);
        tokio::spawn(async move {
            tokio::time::sleep(LATE_BY).await;
            log.append(batch).await;
        });
        answers
    }
}
