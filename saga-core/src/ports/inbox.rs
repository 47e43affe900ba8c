use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::record::{Action, Report, RunId, Timestamp};
pub use crate::wire::Known;

/// The barrier: one row for each (run, step), which executing, undoing and fencing all claim first. With it, at-least-once delivery in any
/// order has the effect of once.
///
/// # Contract
/// - What a row says to a claim or a completion is decided by [`barrier`](crate::participant::barrier), the same for every adapter; the
///   adapter's part is to run it on one row at a time, atomically and durably.
/// - `claim` and `complete` are durable before they answer. Each answers for every request in the order given; one failing spoils no
///   other.
/// - Rows are kept at least as long as commands and their dead letters can live. [`horizon`](Inbox::horizon) tells since when none is missing.
/// - Rows locked by someone else are not waited for: the claim is answered [`ClaimAnswer::Busy`].
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Inbox: Send + Sync + Debug {
    /// Claims rows, creating those that are missing, and counts the attempts.
    ///
    /// # Errors
    /// [`Retry`](crate::ErrorKind::Retry) when the store is away: nothing may be run.
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>>;

    /// Records how claimed work went, and frees the rows.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the row is gone, [`Retry`](crate::ErrorKind::Retry) when the store is away: give the delivery
    /// back, so that it is claimed anew.
    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>>;

    /// Since when this inbox has every row: its creation, or its last pruning. A step dispatched later and without a row never ran here.
    async fn horizon(&self) -> Result<Timestamp, Error>;

    /// Drops rows whose last change is older than `before`, and moves the horizon.
    ///
    /// # Errors
    /// [`Retry`](crate::ErrorKind::Retry) when the store is away.
    async fn prune(&self, before: Timestamp) -> Result<u64, Error>;
}

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// The start of the saga.
    pub run: RunId,
    /// The step's name.
    pub step: Arc<str>,
}

/// A request to work on a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which row.
    pub task: Task,
    /// What is to be done.
    pub action: Action,
    /// In which round.
    pub round: u32,
    /// What the coordinator knows of the step.
    pub known: Known,
    /// When the step was dispatched, by the saga log's clock.
    pub dispatched_at: Timestamp,
    /// For how long the claim is to hold.
    pub hold: Duration,
    /// Where the handler has its effects.
    pub effects: Effects,
}

/// Where a handler has its effects, and so what an attempt may have left behind that ended without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effects {
    /// Anywhere: it may have had one.
    #[default]
    Anywhere,
    /// In one transaction with the barrier's row: the effect and the verdict are stored together, or neither is. So it had none.
    InTransaction,
}

/// Says which claim a completion belongs to; never given twice for one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimToken(pub u64);

/// What the barrier says to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The row is yours: run the user's code.
    Run {
        /// For the completion.
        token: ClaimToken,
        /// What to run. It is what was claimed, or [`Action::Undo`] for a claim to execute: an overtaken attempt of that step may
        /// have had its effect after the undo, so the step is undone once more. Such an undo is reported to nobody.
        action: Action,
        /// Which attempt of this action and round it is, from 1. Undoing once more counts from 1 again.
        attempt: u32,
        /// For an undo: what is known of the step's output. `None` when it is unknown whether it had an effect.
        output: Option<crate::record::Payload>,
    },
    /// Nothing is to be run; this is the answer.
    Reply(Report),
    /// The command belongs to a round that is over: it is to be acknowledged without an answer.
    Stale,
    /// Someone else is at it: give the delivery back for this long, and do not count it.
    Busy {
        /// Until the other claim runs out.
        retry_after: Duration,
    },
}

/// How claimed work went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which row.
    pub task: Task,
    /// Which claim.
    pub token: ClaimToken,
    /// What happened.
    pub performed: Performed,
}

/// What an attempt did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// The attempt is final: this is the verdict to store.
    Final(Report),
    /// The attempt failed and will be repeated. It may have had an effect.
    Again,
}

/// What the barrier says to a completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed {
    /// Stored. This is what to answer: the first verdict stored for the row, which need not be the one given.
    Reply(Report),
    /// Noted: the row is free for the next attempt.
    Free,
    /// The claim had run out, another took the row, and the step has been undone since: undo once more before settling, because this attempt may
    /// have had its effect after that undo.
    UndoAgain {
        /// For the completion of that undo.
        token: ClaimToken,
        /// The undo's attempt, from 1.
        attempt: u32,
        /// What is known of the step's output.
        output: Option<crate::record::Payload>,
    },
    /// The claim had run out and another has the row; it will answer.
    Overtaken,
}
