use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::{Database, Pool};
use tokio::sync::Notify;

use super::rows::{ClaimedRow, NewRow, OutboxState, RawRefused, Settling, Take};

/// A database that can hold an outbox: SQLite and PostgreSQL. `now` is the time in milliseconds, for a database without a clock.
///
/// # Contract
/// - Rows of one lane are numbered in the order in which their transactions commit.
/// - Whoever has claimed a lane's first row is alone with the lane until the claim is settled or has run out.
pub trait OutboxDatabase: Database {
    /// Inserts rows in the caller's transaction, which from then on is alone in writing to their lanes.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    fn insert(
        connection: &mut Self::Connection,
        rows: Vec<NewRow>,
        now: i64,
    ) -> BoxFuture<'_, sqlx::Result<()>>;

    /// Claims the first rows of lanes that nobody has claimed and whose first row was not refused.
    ///
    /// # Errors
    /// When the database does not answer. What was claimed then is free once the claim has run out.
    fn claim<'a>(
        pool: &'a Pool<Self>,
        take: &'a Take,
        now: i64,
    ) -> BoxFuture<'a, sqlx::Result<Vec<ClaimedRow>>>;

    /// Settles what is still claimed so, in one transaction.
    ///
    /// # Errors
    /// When the database does not answer.
    fn settle<'a>(pool: &'a Pool<Self>, settling: &'a Settling, now: i64) -> BoxFuture<'a, sqlx::Result<()>>;

    /// Tells the relay when something was put in by another process, for as long as it is polled. Polling goes on beside it.
    fn listen(pool: Pool<Self>, nudge: Arc<Notify>) -> BoxFuture<'static, ()>;

    /// How much there is.
    ///
    /// # Errors
    /// When the database does not answer.
    fn state(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<OutboxState>>;

    /// Refused rows, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    fn refused(pool: &Pool<Self>, max: u32) -> BoxFuture<'_, sqlx::Result<Vec<RawRefused>>>;

    /// Makes a refused row wait again; whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    fn retry(pool: &Pool<Self>, number: i64) -> BoxFuture<'_, sqlx::Result<bool>>;

    /// Drops a refused row; whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    fn discard(pool: &Pool<Self>, number: i64) -> BoxFuture<'_, sqlx::Result<bool>>;
}
