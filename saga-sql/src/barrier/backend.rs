use futures::future::BoxFuture;
use saga_core::ports::Task;
use saga_core::record::Timestamp;
use sqlx::{Database, Pool, Transaction};

/// A database that can hold the barrier, as a handler's transaction sees it: SQLite and PostgreSQL.
///
/// # Contract
/// - Whoever has locked a row in a transaction is alone with it until that transaction ends.
/// - What was stored is durable with the transaction.
pub trait Backend: Database {
    /// Begins a transaction that can lock rows.
    ///
    /// # Errors
    /// When the database does not answer.
    fn begin(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<Transaction<'static, Self>>>;

    /// Locks a row, waiting for whoever has it locked; `None` if it is not there.
    ///
    /// # Errors
    /// When the database does not answer.
    fn lock<'a>(
        connection: &'a mut Self::Connection,
        task: &'a Task,
    ) -> BoxFuture<'a, sqlx::Result<Option<BarrierRow>>>;

    /// Writes a locked row.
    ///
    /// # Errors
    /// When the database does not answer.
    fn store<'a>(
        connection: &'a mut Self::Connection,
        task: &'a Task,
        row: BarrierRow,
    ) -> BoxFuture<'a, sqlx::Result<()>>;
}

/// A row of the barrier as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierRow {
    /// The format in which the state is written.
    pub format: i64,
    /// What the barrier knows of the step, as JSON.
    pub state: String,
    /// Until when a claim holds it, in milliseconds since 1970.
    pub held_until: Option<i64>,
    /// When it is read, or written.
    pub at: Timestamp,
}
