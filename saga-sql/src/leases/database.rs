use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::{Database, Pool};

/// A database that can hold leases: SQLite and PostgreSQL.
///
/// # Contract
/// - Every lease has a number, which is higher than that of every earlier lease on its key, whatever crashes in between.
/// - A lease has run out once the database's clock shows its end; from then on nothing is done for its holder.
pub trait LeaseDatabase: Database {
    /// Takes a key that nobody holds; the lease's number.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    fn acquire<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk) -> BoxFuture<'a, sqlx::Result<Option<i64>>>;

    /// Moves the end of a lease that has not run out; whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    fn renew<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk, number: i64) -> BoxFuture<'a, sqlx::Result<bool>>;

    /// Locks a lease that has not run out, in the caller's transaction, so that nobody takes its key before that ends; whether there was
    /// one.
    ///
    /// # Errors
    /// When the database does not answer.
    fn check<'a>(
        connection: &'a mut Self::Connection,
        ask: &'a LeaseAsk,
        number: i64,
    ) -> BoxFuture<'a, sqlx::Result<bool>>;

    /// Drops leases that ran out long ago.
    ///
    /// # Errors
    /// When the database does not answer.
    fn prune(pool: &Pool<Self>, now: i64) -> BoxFuture<'_, sqlx::Result<()>>;
}

/// What is asked of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// Its key.
    pub key: Arc<str>,
    /// Who asks, for people.
    pub holder: Arc<str>,
    /// For how long from now, in milliseconds; zero ends it.
    pub ttl_ms: i64,
    /// The time in milliseconds since 1970, for a database without a clock.
    pub now: i64,
}
