use std::fmt::Debug;

use async_trait::async_trait;
use thiserror::Error;

use crate::record::{Cause, Ending, MessageId, Payload, RunId, SagaKey, Timestamp};

/// Called when a saga has ended: the completion call.
///
/// # Contract
/// - It is called at least once for each ending it was chosen for, with the same [`Ended::id`] every time, until its answer is
///   recorded in the saga log. Whoever receives it can tell repeats by the id.
/// - It is never called for a parked saga: that one has not ended.
/// - The future may be dropped at any await, on shutdown; the call is then made again after the next start.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Callback: Send + Sync + Debug {
    /// Tells that the saga has ended.
    ///
    /// # Errors
    /// [`CallbackError::Retry`] is tried again with backoff; [`CallbackError::Refused`] is recorded, alerts, and waits for an
    /// operator's `retry`.
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError>;
}

/// Why a callback has no answer yet.
#[derive(Debug, Error)]
pub enum CallbackError {
    /// Nobody answered, or the answer was to come again.
    #[error("the callback had no answer: {0}")]
    Retry(String),
    /// The other side refuses for good.
    #[error("the callback was refused: {0}")]
    Refused(String),
}

/// What a callback or an announcement is told of a saga.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// The stable id of this call or announcement: the same for every repeat.
    pub id: MessageId,
    /// Which saga.
    pub key: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// How it ended; for an announcement that unwinding begins, [`Ending::RolledBack`] is what is under way.
    pub ending: Ending,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// The saga's input.
    pub input: Payload,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended, or began to unwind.
    pub at: Timestamp,
    /// The W3C trace context it was started in.
    pub traceparent: Option<std::sync::Arc<str>>,
}

impl Ended {
    /// A saga that ended without a cause and outside any trace; set those fields where there are such. For tests of a callback of your own.
    pub const fn new(
        id: MessageId,
        key: SagaKey,
        run: RunId,
        ending: Ending,
        input: Payload,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Self {
        Self { id, key, run, ending, cause: None, input, started_at, at, traceparent: None }
    }
}
