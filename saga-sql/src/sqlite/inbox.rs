use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::memory::TokioClock;
use saga_core::ports::{Claim, ClaimAnswer, Clock, Completed, Completion, Inbox, Task};
use saga_core::record::Timestamp;
use saga_core::{Error, StepContext, StepError};
use serde::Deserialize;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions, Pool, Row as _, Transaction};

use super::config::{Synchronous, options, parse};
use super::pool;
use crate::barrier::{
    Backend, BarrierRow, COMMANDS_KEPT_FOR_MS, Committed, PRUNE_INTERVAL, PRUNED_MAX, ROWS_KEPT_FOR_MS, Rows,
    StepTransaction, TRANSACTION_TIME_MAX_MS, TransactionHandler, check_retention,
};
use crate::error::{copy, told};
use crate::schema;
use crate::stored::{from_column, to_column};

/// Where the barrier's SQLite file is and how it is used. Every field but the path can stand in the URL's query.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteInboxConfig {
    /// The file: the one that has the participant's own tables. It is made if it is not there.
    #[serde(skip_deserializing)]
    pub path: PathBuf,
    /// When the disk is told to keep what was written. Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How long to wait while another process writes, in ms. Default: 5,000.
    pub busy_timeout_ms: u64,
    /// How long a row is kept after its last change, in ms. Default: 2,678,400,000 (31 days).
    pub rows_kept_for_ms: u64,
    /// How long commands and their dead letters can live on the bus, in ms; rows must be kept for as long. Default: 2,592,000,000 (30 days),
    /// the buses' own default for dead letters.
    pub commands_kept_for_ms: u64,
    /// How long a handler's transaction may take before it is rolled back, in ms: nobody else can write to the file meanwhile. Default:
    /// 5,000.
    pub transaction_time_max_ms: u64,
}

impl Default for SqliteInboxConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            synchronous: Synchronous::Full,
            busy_timeout_ms: 5_000,
            rows_kept_for_ms: ROWS_KEPT_FOR_MS,
            commands_kept_for_ms: COMMANDS_KEPT_FOR_MS,
            transaction_time_max_ms: TRANSACTION_TIME_MAX_MS,
        }
    }
}

impl SqliteInboxConfig {
    /// The defaults, for this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Reads a URL: `sqlite:PATH?setting=value`.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) says what is wrong with it.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let (path, settings): (_, Self) = parse(url)?;
        Ok(Self { path, ..settings })
    }
}

/// An [`Inbox`] in the SQLite file that has a participant's own tables, so that a handler's effect and its barrier row are committed
/// together: see [`handler`](Self::handler). Cloning shares it.
///
/// One transaction writes at a time, a handler's included; several processes may use the file and take turns. The saga log belongs in
/// another file.
#[derive(Clone)]
pub struct SqliteInbox {
    inner: Arc<Inner>,
}

struct Inner {
    pool: SqlitePool,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    rows_kept_for: Duration,
    transaction_time_max: Duration,
    prune_at: Mutex<Timestamp>,
}

const READ: &str = "SELECT format, state FROM saga_inbox WHERE run = ? AND step = ?";

const STORE: &str = "\
    INSERT INTO saga_inbox (run, step, format, state, held_until, changed_at) VALUES (?, ?, ?, ?, ?, ?) \
    ON CONFLICT DO UPDATE SET format = excluded.format, state = excluded.state, \
    held_until = excluded.held_until, changed_at = excluded.changed_at";

const PRUNE: &str = "\
    DELETE FROM saga_inbox WHERE (run, step) IN ( \
        SELECT run, step FROM saga_inbox WHERE changed_at < ?1 AND (held_until IS NULL OR held_until <= ?2) \
        ORDER BY changed_at LIMIT ?3) RETURNING changed_at";

impl SqliteInbox {
    /// Opens the file that a URL names; see [`SqliteInboxConfig`] for what else can stand in it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(SqliteInboxConfig::from_url(url)?, Arc::new(TokioClock::new())).await
    }

    /// Opens the file, and makes it and the barrier's tables if they are not there. Claims run out by this clock.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) when rows would not be kept for as long as commands, or the file holds a saga log;
    /// otherwise as [`SqliteLog::open`](super::SqliteLog::open).
    pub async fn open(config: SqliteInboxConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        check_retention(config.rows_kept_for_ms, config.commands_kept_for_ms)?;
        let place = config.path.display().to_string();
        let failed = |error| told(format!("the inbox {place} cannot be opened"), error);
        let options =
            options(&config.path, config.synchronous, config.busy_timeout_ms).disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        schema::sqlite::update(&mut connection, &schema::sqlite::INBOX, &place).await?;
        let horizon = "INSERT INTO saga_inbox_horizon VALUES (1, ?) ON CONFLICT DO NOTHING";
        let horizon = sqlx::query(horizon).bind(to_column(clock.now()));
        horizon.execute(&mut connection).await.map_err(failed)?;
        drop(connection);
        let pool = pool::alone(options);
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                path: config.path,
                clock,
                rows_kept_for: Duration::from_millis(config.rows_kept_for_ms),
                transaction_time_max: Duration::from_millis(config.transaction_time_max_ms),
                prune_at: Mutex::default(),
            }),
        })
    }

    /// A handler whose closure gets a transaction in this file: what it does there, the barrier's row and the reply are committed together, by
    /// `tx.commit(output)`, or not at all. Whoever crashes in between has done nothing.
    ///
    /// ```no_run
    /// # use saga_core::StepError;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use saga_sql::sqlite::SqliteInbox;
    /// use saga_sql::sqlx;
    ///
    /// let inbox = SqliteInbox::connect("sqlite:inventory.db").await?;
    /// let reserve = inbox
    ///     .handler(|quantity: u32, mut tx, _ctx| async move {
    ///         let update = "UPDATE shelf SET stock = stock - ?1 WHERE stock >= ?1";
    ///         let updated = sqlx::query(update).bind(quantity).execute(&mut *tx).await?;
    ///         if updated.rows_affected() == 0 {
    ///             return Err(StepError::reject("out of stock")); // the transaction is rolled back
    ///         }
    ///         tx.commit(quantity).await
    ///     })
    ///     .undo(|undo, mut tx, _ctx| async move {
    ///         if let Some(reserved) = undo.output {
    ///             let update = "UPDATE shelf SET stock = stock + ?1";
    ///             sqlx::query(update).bind(reserved).execute(&mut *tx).await?;
    ///         }
    ///         tx.commit(()).await
    ///     });
    /// # Ok(())
    /// # }
    /// ```
    pub fn handler<In, Out, F, Fut>(&self, execute: F) -> TransactionHandler<Sqlite, In, Out, F>
    where
        F: Fn(In, StepTransaction<Sqlite>, StepContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Committed<Out>, StepError>> + Send,
    {
        TransactionHandler::new(self.inner.pool.clone(), self.inner.transaction_time_max, execute)
    }

    /// The one connection to the file, for what else is to be done in it.
    pub fn pool(&self) -> &SqlitePool {
        &self.inner.pool
    }

    async fn claim_batch(&self, batch: &[Claim]) -> Result<Vec<Result<ClaimAnswer, Error>>, Error> {
        let failed = |error| told("the inbox cannot be asked", error);
        let mut transaction = Sqlite::begin(&self.inner.pool).await.map_err(failed)?;
        let mut rows = Rows::default();
        for Claim { task, .. } in batch {
            match read(&mut transaction, task).await.map_err(failed)? {
                Some((format, state)) => rows.add(task.clone(), format, &state),
                None => rows.add_new(task.clone()),
            }
        }
        let horizon = horizon(&mut transaction).await.map_err(failed)?;
        let now = self.inner.clock.now();
        let answers = rows.claim(batch, horizon, now);
        store_all(&mut transaction, rows.changed(now)?).await.map_err(failed)?;
        self.prune_some(&mut transaction, now).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(answers)
    }

    async fn complete_batch(&self, batch: &[Completion]) -> Result<Vec<Result<Completed, Error>>, Error> {
        let failed = |error| told("the inbox cannot be told", error);
        let mut transaction = Sqlite::begin(&self.inner.pool).await.map_err(failed)?;
        let mut rows = Rows::default();
        for Completion { task, .. } in batch {
            if let Some((format, state)) = read(&mut transaction, task).await.map_err(failed)? {
                rows.add(task.clone(), format, &state);
            }
        }
        let now = self.inner.clock.now();
        let answers = rows.complete(batch, now);
        store_all(&mut transaction, rows.changed(now)?).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(answers)
    }

    /// Drops rows that are too old, now and then.
    async fn prune_some(&self, connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<()> {
        {
            let mut prune_at = self.inner.prune_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now < *prune_at {
                return Ok(());
            }
            *prune_at = now.after(PRUNE_INTERVAL);
        }
        let kept_for_ms = i64::try_from(self.inner.rows_kept_for.as_millis()).unwrap_or(i64::MAX);
        prune(connection, to_column(now).saturating_sub(kept_for_ms), now, PRUNED_MAX).await.map(drop)
    }
}

async fn read(connection: &mut SqliteConnection, task: &Task) -> sqlx::Result<Option<(i64, String)>> {
    let query = sqlx::query(READ).bind(task.run.to_string()).bind(Arc::clone(&task.step));
    query.fetch_optional(connection).await?.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

async fn horizon(connection: &mut SqliteConnection) -> sqlx::Result<Timestamp> {
    let row = sqlx::query("SELECT at FROM saga_inbox_horizon").fetch_one(connection).await?;
    Ok(from_column(row.get(0)))
}

async fn store_all(connection: &mut SqliteConnection, rows: Vec<(Task, BarrierRow)>) -> sqlx::Result<()> {
    for (task, row) in rows {
        let query = sqlx::query(STORE).bind(task.run.to_string()).bind(task.step);
        let query = query.bind(row.format).bind(row.state).bind(row.held_until).bind(to_column(row.at));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Drops rows that last changed before, and moves the horizon past them.
async fn prune(
    connection: &mut SqliteConnection,
    before: i64,
    now: Timestamp,
    max: i64,
) -> sqlx::Result<u64> {
    let query = sqlx::query(PRUNE).bind(before).bind(to_column(now)).bind(max);
    let gone = query.fetch_all(&mut *connection).await?;
    if let Some(last) = gone.iter().map(|row| row.get::<i64, _>(0)).max() {
        let moved = sqlx::query("UPDATE saga_inbox_horizon SET at = max(at, ?)").bind(last.saturating_add(1));
        moved.execute(connection).await?;
    }
    Ok(gone.len() as u64)
}

#[async_trait]
impl Inbox for SqliteInbox {
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        let claimed = self.claim_batch(&batch).await;
        claimed.unwrap_or_else(|error| batch.iter().map(|_| Err(copy(&error))).collect())
    }

    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        let completed = self.complete_batch(&batch).await;
        completed.unwrap_or_else(|error| batch.iter().map(|_| Err(copy(&error))).collect())
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        let failed = |error| told("the inbox cannot be asked", error);
        let mut connection = self.inner.pool.acquire().await.map_err(failed)?;
        horizon(&mut connection).await.map_err(failed)
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let failed = |error| told("the inbox cannot be pruned", error);
        let mut transaction = Sqlite::begin(&self.inner.pool).await.map_err(failed)?;
        let now = self.inner.clock.now();
        let pruned = prune(&mut transaction, to_column(before), now, i64::MAX).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(pruned)
    }
}

impl Backend for Sqlite {
    fn begin(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<Transaction<'static, Self>>> {
        pool.begin_with("BEGIN IMMEDIATE").boxed()
    }

    fn lock<'a>(
        connection: &'a mut SqliteConnection,
        task: &'a Task,
    ) -> BoxFuture<'a, sqlx::Result<Option<BarrierRow>>> {
        async move {
            let row = read(connection, task).await?;
            // A claim holds until someone else takes it over; the time only says when the row changed.
            let at = TokioClock::new().now();
            Ok(row.map(|(format, state)| BarrierRow { format, state, held_until: None, at }))
        }
        .boxed()
    }

    fn store<'a>(
        connection: &'a mut SqliteConnection,
        task: &'a Task,
        row: BarrierRow,
    ) -> BoxFuture<'a, sqlx::Result<()>> {
        store_all(connection, vec![(task.clone(), row)]).boxed()
    }
}

impl fmt::Debug for SqliteInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteInbox").field("path", &self.inner.path).finish_non_exhaustive()
    }
}
