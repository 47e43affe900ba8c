use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::ports::{Claim, ClaimAnswer, Completed, Completion, Inbox, Task};
use saga_core::record::Timestamp;
use saga_core::{Error, StepContext, StepError};
use sqlx::postgres::{PgConnection, PgPool, Postgres};
use sqlx::{Connection, Pool, Row as _, Transaction};

use super::config::PostgresConfig;
use super::connect::Database;
use crate::barrier::{
    Backend, BarrierRow, Committed, PRUNE_INTERVAL, PRUNED_MAX, Rows, StepTransaction, TransactionHandler,
    check_retention,
};
use crate::error::{copy, told};
use crate::schema::postgres::INBOX;
use crate::stored::{FORMAT, from_column, to_column};

/// An [`Inbox`] in the PostgreSQL database that has a participant's own tables, so that a handler's effect and its barrier row are
/// committed together: see [`handler`](Self::handler). Cloning shares it, and any number of processes may use one database.
///
/// It works at READ COMMITTED, the default: executing, undoing and fencing a step lock the step's one row.
#[derive(Clone)]
pub struct PostgresInbox {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    rows_kept_for: Duration,
    transaction_time_max: Duration,
    prune_at: Mutex<Option<Instant>>,
}

/// Makes the rows that are missing. Of those that are there it takes no note, whether they are locked or not.
const MAKE: &str = "\
    INSERT INTO saga_inbox (run, step, format, state, changed_at) \
    SELECT k.run, k.step, $3, $4, saga_inbox_now() FROM unnest($1::text[], $2::text[]) k (run, step) \
    WHERE NOT EXISTS (SELECT 1 FROM saga_inbox i WHERE i.run = k.run AND i.step = k.step) \
    ON CONFLICT DO NOTHING";

/// Locks the rows that nobody has locked, and tells the time and the horizon.
const CLAIM: &str = "\
    SELECT n.now, n.horizon, r.at, r.format, r.state \
    FROM (SELECT saga_inbox_now() AS now, (SELECT at FROM saga_inbox_horizon) AS horizon) n \
    LEFT JOIN LATERAL ( \
        SELECT k.at, i.format, i.state FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (run, step, at) \
        JOIN saga_inbox i ON i.run = k.run AND i.step = k.step FOR UPDATE OF i SKIP LOCKED) r ON true";

/// Locks rows, waiting for those that someone has locked, in one order for everybody.
const COMPLETE: &str = "\
    SELECT n.now, 0::bigint, r.at, r.format, r.state FROM (SELECT saga_inbox_now() AS now) n \
    LEFT JOIN LATERAL ( \
        SELECT k.at, i.format, i.state FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (run, step, at) \
        JOIN saga_inbox i ON i.run = k.run AND i.step = k.step \
        ORDER BY i.run, i.step FOR UPDATE OF i) r ON true";

const STORE: &str = "\
    UPDATE saga_inbox i SET format = v.format, state = v.state, held_until = v.held_until, changed_at = v.at \
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[]) \
        v (run, step, format, state, held_until, at) \
    WHERE i.run = v.run AND i.step = v.step";

const PRUNE: &str = "\
    WITH gone AS ( \
        DELETE FROM saga_inbox WHERE (run, step) IN ( \
            SELECT run, step FROM saga_inbox \
            WHERE changed_at < $1 AND (held_until IS NULL OR held_until <= saga_inbox_now()) \
            LIMIT $2 FOR UPDATE SKIP LOCKED) \
        RETURNING changed_at), \
    moved AS ( \
        UPDATE saga_inbox_horizon SET at = greatest(at, (SELECT max(changed_at) + 1 FROM gone)) \
        WHERE EXISTS (SELECT 1 FROM gone)) \
    SELECT count(*) FROM gone";

impl PostgresInbox {
    /// Connects to the server that a URL names, `postgres://user:password@host/database`; see [`PostgresConfig`] for what else can stand
    /// in it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(PostgresConfig::from_url(url)?).await
    }

    /// Connects, and makes the barrier's tables if they are not there.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) when rows would not be kept for as long as commands; otherwise as
    /// [`PostgresLog::open`](super::PostgresLog::open).
    pub async fn open(config: PostgresConfig) -> Result<Self, Error> {
        check_retention(config.rows_kept_for_ms, config.commands_kept_for_ms)?;
        let database = Database::open(&config, &INBOX).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                rows_kept_for: Duration::from_millis(config.rows_kept_for_ms),
                transaction_time_max: Duration::from_millis(config.transaction_time_max_ms),
                prune_at: Mutex::default(),
            }),
        })
    }

    /// A handler whose closure gets a transaction in this database: what it does there, the barrier's row and the reply are committed
    /// together, by `tx.commit(output)`, or not at all. Whoever crashes in between has done nothing.
    ///
    /// ```no_run
    /// # use saga_core::StepError;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use saga_sql::postgres::PostgresInbox;
    /// use saga_sql::sqlx;
    ///
    /// let inbox = PostgresInbox::connect("postgres://localhost/inventory").await?;
    /// let reserve = inbox
    ///     .handler(|quantity: i32, mut tx, _ctx| async move {
    ///         let update = "UPDATE shelf SET stock = stock - $1 WHERE stock >= $1";
    ///         let updated = sqlx::query(update).bind(quantity).execute(&mut *tx).await?;
    ///         if updated.rows_affected() == 0 {
    ///             return Err(StepError::reject("out of stock")); // the transaction is rolled back
    ///         }
    ///         tx.commit(quantity).await
    ///     })
    ///     .undo(|undo, mut tx, _ctx| async move {
    ///         if let Some(reserved) = undo.output {
    ///             let update = "UPDATE shelf SET stock = stock + $1";
    ///             sqlx::query(update).bind(reserved).execute(&mut *tx).await?;
    ///         }
    ///         tx.commit(()).await
    ///     });
    /// # Ok(())
    /// # }
    /// ```
    pub fn handler<In, Out, F, Fut>(&self, execute: F) -> TransactionHandler<Postgres, In, Out, F>
    where
        F: Fn(In, StepTransaction<Postgres>, StepContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Committed<Out>, StepError>> + Send,
    {
        let pool = self.inner.database.pool.clone();
        TransactionHandler::new(pool, self.inner.transaction_time_max, execute)
    }

    /// The connections to the database, for what else is to be done in it.
    pub fn pool(&self) -> &PgPool {
        &self.inner.database.pool
    }

    async fn claim_batch(&self, batch: &[Claim]) -> Result<Vec<Result<ClaimAnswer, Error>>, Error> {
        let what = "the inbox cannot be asked";
        let mut lent = self.inner.database.lend(what).await?;
        let work = async {
            let answers = claim(&mut lent, batch).await?;
            self.prune_some(&mut lent).await.map_err(|error| told(what, error))?;
            Ok::<_, Error>(answers)
        };
        let answers = self.inner.database.limit(what, work).await?;
        lent.done();
        Ok(answers)
    }

    async fn complete_batch(&self, batch: &[Completion]) -> Result<Vec<Result<Completed, Error>>, Error> {
        let mut lent = self.inner.database.lend("the inbox cannot be told").await?;
        let work = complete(&mut lent, batch);
        let answers = self.inner.database.limit("the inbox cannot be told", work).await?;
        lent.done();
        Ok(answers)
    }

    /// Drops rows that are too old, now and then.
    async fn prune_some(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let now = Instant::now();
        {
            let mut prune_at = self.inner.prune_at.lock().unwrap_or_else(PoisonError::into_inner);
            if prune_at.is_some_and(|at| now < at) {
                return Ok(());
            }
            *prune_at = Some(now + PRUNE_INTERVAL);
        }
        let kept_for_ms = i64::try_from(self.inner.rows_kept_for.as_millis()).unwrap_or(i64::MAX / 2);
        let before = sqlx::query("SELECT saga_inbox_now() - $1").bind(kept_for_ms);
        let before = before.fetch_one(&mut *connection).await?.get(0);
        prune(connection, before, PRUNED_MAX).await.map(drop)
    }
}

fn keys<'a>(tasks: impl Iterator<Item = &'a Task>) -> (Vec<String>, Vec<&'a str>) {
    tasks.map(|task| (task.run.to_string(), &*task.step)).unzip()
}

async fn claim(
    connection: &mut PgConnection,
    batch: &[Claim],
) -> Result<Vec<Result<ClaimAnswer, Error>>, Error> {
    let failed = |error| told("the inbox cannot be asked", error);
    let tasks: Vec<_> = batch.iter().map(|claim| &claim.task).collect();
    let mut ordered = tasks.clone();
    // Whoever makes the same rows waits, and nobody waits in a circle.
    ordered.sort();
    ordered.dedup();
    let empty = serde_json::to_string(&saga_core::participant::barrier::Row::default()).expect("plain data");
    let mut transaction = connection.begin().await.map_err(failed)?;
    let (runs, steps) = keys(ordered.into_iter());
    let make = sqlx::query(MAKE).bind(runs).bind(steps).bind(FORMAT).bind(empty);
    make.execute(&mut *transaction).await.map_err(failed)?;
    let (mut rows, now, horizon) = lock(&mut transaction, CLAIM, &tasks).await.map_err(failed)?;
    let answers = rows.claim(batch, horizon, now);
    store_all(&mut transaction, rows.changed(now)?).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(answers)
}

async fn complete(
    connection: &mut PgConnection,
    batch: &[Completion],
) -> Result<Vec<Result<Completed, Error>>, Error> {
    let failed = |error| told("the inbox cannot be told", error);
    let tasks: Vec<_> = batch.iter().map(|completion| &completion.task).collect();
    let mut transaction = connection.begin().await.map_err(failed)?;
    // Whoever has a row locked claims or completes it at this moment, or rolls a transaction back that was cut off.
    sqlx::raw_sql("SET LOCAL lock_timeout = '5s'").execute(&mut *transaction).await.map_err(failed)?;
    let (mut rows, now, _) = lock(&mut transaction, COMPLETE, &tasks).await.map_err(failed)?;
    let answers = rows.complete(batch, now);
    store_all(&mut transaction, rows.changed(now)?).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(answers)
}

/// Locks rows by one of the queries above; with them come the time and the horizon.
async fn lock(
    connection: &mut PgConnection,
    query: &'static str,
    tasks: &[&Task],
) -> sqlx::Result<(Rows, Timestamp, Timestamp)> {
    let (runs, steps) = keys(tasks.iter().copied());
    let read = sqlx::query(query).bind(runs).bind(steps).fetch_all(connection).await?;
    let mut rows = Rows::default();
    for row in &read {
        let Some(at) = row.try_get::<Option<i64>, _>(2)? else { continue };
        let task = tasks[at.unsigned_abs() as usize - 1].clone();
        rows.add(task, row.try_get(3)?, row.try_get(4)?);
    }
    let first = read.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok((rows, from_column(first.try_get(0)?), from_column(first.try_get(1)?)))
}

async fn store_all(connection: &mut PgConnection, rows: Vec<(Task, BarrierRow)>) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let (runs, steps) = keys(rows.iter().map(|(task, _)| task));
    let formats: Vec<_> = rows.iter().map(|(_, row)| row.format).collect();
    let states: Vec<_> = rows.iter().map(|(_, row)| &*row.state).collect();
    let held: Vec<_> = rows.iter().map(|(_, row)| row.held_until).collect();
    let at: Vec<_> = rows.iter().map(|(_, row)| to_column(row.at)).collect();
    let query = sqlx::query(STORE).bind(&runs).bind(&steps).bind(formats).bind(&states).bind(held).bind(at);
    query.execute(connection).await.map(drop)
}

/// Drops rows that last changed before, and moves the horizon past them.
async fn prune(connection: &mut PgConnection, before: i64, max: i64) -> sqlx::Result<u64> {
    let pruned = sqlx::query(PRUNE).bind(before).bind(max).fetch_one(connection).await?;
    Ok(pruned.get::<i64, _>(0).unsigned_abs())
}

#[async_trait]
impl Inbox for PostgresInbox {
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        let claimed = self.claim_batch(&batch).await;
        claimed.unwrap_or_else(|error| batch.iter().map(|_| Err(copy(&error))).collect())
    }

    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        match self.complete_batch(&batch).await {
            Ok(answers) => answers,
            // A row that stays locked spoils no other.
            Err(_) if batch.len() > 1 => {
                let mut answers = Vec::with_capacity(batch.len());
                for completion in batch {
                    answers.extend(self.complete(vec![completion]).await);
                }
                answers
            }
            Err(error) => vec![Err(error)],
        }
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        let query = sqlx::query("SELECT at FROM saga_inbox_horizon").fetch_one(&self.inner.database.pool);
        let row = query.await.map_err(|error| told("the inbox cannot be asked", error))?;
        Ok(from_column(row.get(0)))
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let what = "the inbox cannot be pruned";
        let mut lent = self.inner.database.lend(what).await?;
        let work = async {
            let pruned = prune(&mut lent, to_column(before), i64::MAX).await;
            pruned.map_err(|error| told(what, error))
        };
        let pruned = self.inner.database.limit(what, work).await?;
        lent.done();
        Ok(pruned)
    }
}

impl Backend for Postgres {
    fn begin(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<Transaction<'static, Self>>> {
        pool.begin().boxed()
    }

    fn lock<'a>(
        connection: &'a mut PgConnection,
        task: &'a Task,
    ) -> BoxFuture<'a, sqlx::Result<Option<BarrierRow>>> {
        async move {
            let query = "SELECT format, state, saga_inbox_now() FROM saga_inbox WHERE run = $1 AND step = $2 FOR UPDATE";
            let query = sqlx::query(query).bind(task.run.to_string()).bind(&*task.step);
            let row = query.fetch_optional(connection).await?;
            let locked = row.map(|row| {
                Ok(BarrierRow {
                    format: row.try_get(0)?,
                    state: row.try_get(1)?,
                    held_until: None,
                    at: from_column(row.try_get(2)?),
                })
            });
            locked.transpose()
        }
        .boxed()
    }

    fn store<'a>(
        connection: &'a mut PgConnection,
        task: &'a Task,
        row: BarrierRow,
    ) -> BoxFuture<'a, sqlx::Result<()>> {
        store_all(connection, vec![(task.clone(), row)]).boxed()
    }
}

impl fmt::Debug for PostgresInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresInbox")
            .field("rows_kept_for", &self.inner.rows_kept_for)
            .finish_non_exhaustive()
    }
}
