//! A book in the database that has the sub-case's barrier: what is entered in a handler's transaction stands if the verdict does, whatever
//! dies in between, and any number of processes may share it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use saga::sql::sqlx;
use saga::{StepContext, StepError};

use super::{Entries, Failure, Pages, Reading, Row, STOCK_AT_FIRST, shortage};
use crate::order::Quantities;

/// The tables of each sub-case, in a file or a schema of its own.
const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS entries \
        (order_id text NOT NULL, run text NOT NULL, entry text NOT NULL, undone boolean NOT NULL DEFAULT FALSE)",
    "CREATE INDEX IF NOT EXISTS entries_by_order ON entries (order_id)",
    "CREATE TABLE IF NOT EXISTS shelves (product text PRIMARY KEY, taken bigint NOT NULL)",
];
/// The barrier sees to it that this happens once for each run, so nothing here has to.
const ENTER: &str = "INSERT INTO entries (order_id, run, entry) VALUES ($1, $2, $3)";
const STRIKE: &str =
    "UPDATE entries SET undone = TRUE WHERE order_id = $1 AND run = $2 AND NOT undone RETURNING entry";
const NEW_SHELF: &str = "INSERT INTO shelves (product, taken) VALUES ($1, 0) ON CONFLICT DO NOTHING";
/// Two orders that want the last piece meet here: one waits for the other, and then finds nothing.
const TAKE: &str = "UPDATE shelves SET taken = taken + $2 WHERE product = $1 AND taken + $2 <= $3";
const TAKEN: &str = "SELECT taken FROM shelves WHERE product = $1";
const PUT_BACK: &str = "UPDATE shelves SET taken = taken - $2 WHERE product = $1";
const ROWS: &str = "SELECT order_id, entry, undone FROM entries";
const OF_ORDER: &str = "SELECT order_id, entry FROM entries WHERE order_id = $1 AND NOT undone";
const SHELVES: &str = "SELECT product, taken FROM shelves WHERE taken <> 0";

fn column(quantity: u64) -> Result<i64, StepError> {
    i64::try_from(quantity).map_err(|_| StepError::reject("nobody has so many"))
}

/// For how long a database may be busy or away while it is read. The sub-cases need no such patience: what they could not do is sent again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Reads until the database answers: one that does not says nothing of the books.
async fn patiently<T, F>(read: impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let begun = Instant::now();
    loop {
        match read().await {
            Err(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            read => return read,
        }
    }
}

/// The SQL is the same for both; the types of the connections are not.
macro_rules! in_database {
    ($connection:ty, $pool:ty, $alone:expr) => {
        #[async_trait]
        impl Pages for $connection {
            async fn enter(
                &mut self,
                ctx: &StepContext,
                order_id: &str,
                entry: &str,
            ) -> Result<bool, StepError> {
                let query = sqlx::query(ENTER).bind(order_id).bind(ctx.run.to_string()).bind(entry);
                query.execute(self).await?;
                Ok(true)
            }

            async fn strike(
                &mut self,
                ctx: &StepContext,
                order_id: &str,
            ) -> Result<Option<String>, StepError> {
                let query = sqlx::query_scalar(STRIKE).bind(order_id).bind(ctx.run.to_string());
                Ok(query.fetch_optional(self).await?)
            }

            // Product by product in the order of their names, so that no two transactions wait for each other at once.
            async fn take(&mut self, items: &Quantities) -> Result<Option<String>, StepError> {
                for (product, quantity) in &items.0 {
                    sqlx::query(NEW_SHELF).bind(product).execute(&mut *self).await?;
                    let (wanted, most) = (column(*quantity)?, column(STOCK_AT_FIRST)?);
                    let take = sqlx::query(TAKE).bind(product).bind(wanted).bind(most);
                    if take.execute(&mut *self).await?.rows_affected() == 0 {
                        let taken: i64 =
                            sqlx::query_scalar(TAKEN).bind(product).fetch_one(&mut *self).await?;
                        return Ok(shortage(product, *quantity, taken.unsigned_abs()));
                    }
                }
                Ok(None)
            }

            async fn put_back(&mut self, items: &Quantities) -> Result<(), StepError> {
                for (product, quantity) in &items.0 {
                    let query = sqlx::query(PUT_BACK).bind(product).bind(column(*quantity)?);
                    query.execute(&mut *self).await?;
                }
                Ok(())
            }
        }

        #[async_trait]
        impl Reading for $pool {
            async fn make(&self) -> Result<(), Failure> {
                let mut tx = self.begin().await?;
                let alone: Option<&str> = $alone;
                for statement in alone.into_iter().chain(TABLES) {
                    sqlx::query(statement).execute(&mut *tx).await?;
                }
                Ok(tx.commit().await?)
            }

            async fn rows(&self) -> Result<Vec<Row>, Failure> {
                let rows: Vec<(String, String, bool)> =
                    patiently(|| sqlx::query_as(ROWS).fetch_all(self)).await?;
                let row = |(order_id, entry, undone)| Row { order_id, entry, undone };
                Ok(rows.into_iter().map(row).collect())
            }

            async fn of_order(&self, order_id: &str) -> Result<Entries, Failure> {
                let read = || sqlx::query_as(OF_ORDER).bind(order_id).fetch_all(self);
                Ok(patiently(read).await?)
            }

            async fn shelves(&self) -> Result<BTreeMap<String, u64>, Failure> {
                let shelves: Vec<(String, i64)> =
                    patiently(|| sqlx::query_as(SHELVES).fetch_all(self)).await?;
                Ok(shelves.into_iter().map(|(product, taken)| (product, taken.unsigned_abs())).collect())
            }
        }
    };
}

#[cfg(feature = "sqlite")]
in_database!(sqlx::SqliteConnection, sqlx::SqlitePool, None);
// Two processes that make the same tables at once would disturb each other.
#[cfg(feature = "postgres")]
in_database!(sqlx::PgConnection, sqlx::PgPool, Some("SELECT pg_advisory_xact_lock(hashtext('checkout'))"));
