use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::record::Timestamp;

/// Where the shells read the time and wait. The machine never sees it.
///
/// # Contract
/// - `now` never goes backwards, and never leaps because someone set the wall clock: it advances as time passes.
/// - `sleep` returns no earlier than `duration` later by the same clock.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Waits. Dropping the future stops waiting and does nothing else.
    async fn sleep(&self, duration: Duration);
}
