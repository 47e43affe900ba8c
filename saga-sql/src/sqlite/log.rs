use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::memory::TokioClock;
use saga_core::ports::{
    Append, AppendError, Audited, Census, Clock, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga_core::record::{DefinitionRef, Outline, SagaKey};
use saga_core::{Error, ErrorKind};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use super::config::SqliteLogConfig;
use super::writer::{Job, Writer};
use super::{audit, read};
use crate::error::{copy, told};
use crate::schema;

/// How many calls may wait for the writer.
const JOBS_MAX: usize = 1_024;

/// A [`SagaLog`] in a SQLite file, for the coordinators of one machine. Cloning shares it.
///
/// - One thread writes: what has gathered meanwhile is committed at once, one commit and one sync of the disk for many sagas. Reading goes on
///   beside it.
/// - It is the log's own file. Participants' books and barriers belong in other files: a handler that writes would stall the log.
/// - Several processes may use the same file, each with coordinators of its own; they take turns to write.
/// - Of a settled saga a tombstone stays, for the idempotency window; its entries go at once.
/// - When the last clone is gone, the writer ends what it has begun and closes the file.
///
/// The tables are documented in `docs/sql.md`.
#[derive(Clone)]
pub struct SqliteLog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    idempotency_window: Duration,
    clock: Arc<dyn Clock>,
    readers: SqlitePool,
    jobs: mpsc::Sender<Job>,
    commits: Arc<AtomicU64>,
}

impl SqliteLog {
    /// Opens the file that a URL names, `sqlite:checkout.db`; see [`SqliteLogConfig`] for what else can stand in it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(SqliteLogConfig::from_url(url)?, Arc::new(TokioClock::new())).await
    }

    /// Opens the file, and makes it and its tables if they are not there. Sagas are woken and leases run out by this clock; processes that
    /// share the file must agree on the time.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Permanent`](ErrorKind::Permanent) when the schema is newer than this version of the library, or the file is read-only;
    /// [`Corrupt`](ErrorKind::Corrupt) when it is no database; [`Invalid`](ErrorKind::Invalid) when it holds a barrier;
    /// [`Retry`](ErrorKind::Retry) when it cannot be opened now, for example because its folder is not there.
    pub async fn open(config: SqliteLogConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let place = config.path.display().to_string();
        let failed = |error| told(format!("the saga log {place} cannot be opened"), error);
        let options = config.options().disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        schema::sqlite::update(&mut connection, &schema::sqlite::LOG, &place).await?;
        connection.close().await.map_err(failed)?;
        let readers = SqlitePoolOptions::new().max_connections(config.readers_max.max(1));
        // Opened one by one as they are needed, not again and again.
        let readers = readers.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
        let readers = readers.connect_lazy_with(options.clone().create_if_missing(false));
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let writer = Writer::open(&config, Arc::clone(&clock));
        let writer = writer.map_err(|error| told(format!("the saga log {place} cannot be opened"), error))?;
        let commits = Arc::clone(&writer.commits);
        let thread = thread::Builder::new().name("saga-log".into()).spawn(move || writer.run(queue));
        thread.map_err(|error| {
            let message = format!("the thread that writes the saga log {place} cannot be started");
            Error::new(ErrorKind::Retry, message).with_source(error)
        })?;
        let idempotency_window = config.idempotency_window();
        let inner = Inner { path: config.path, idempotency_window, clock, readers, jobs, commits };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many commits of this log and its clones have written something since it was opened. With
    /// [`Synchronous::Full`](super::Synchronous::Full) each has synced the disk once; a checkpoint, after every 4,000 pages, syncs it a few times
    /// more. For measuring.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }

    async fn job<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let stopped = || {
            let message = format!("the writer of the saga log {} has stopped", self.inner.path.display());
            Error::new(ErrorKind::Stopped, message)
        };
        self.inner.jobs.send(job(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())
    }
}

/// Without the sagas: their entries carry personal data.
impl fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLog").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl SagaLog for SqliteLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        let count = batch.len();
        match self.job(|answer| Job::Append { batch, answer }).await {
            Ok(answers) => answers,
            // The writer has panicked, perhaps in the middle of a commit.
            Err(error) => (0..count).map(|_| Err(AppendError::Unknown(copy(&error)))).collect(),
        }
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        let Inner { readers, clock, idempotency_window, .. } = &*self.inner;
        read::load(readers, keys, clock.now(), *idempotency_window).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        let owner = owner.into();
        self.job(|answer| Job::Lease { owner, epoch, ttl, answer }).await?
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        let owner = owner.into();
        self.job(|answer| Job::Release { owner, epoch, answer }).await?
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        let (owner, definitions) = (owner.into(), definitions.to_vec());
        self.job(|answer| Job::Wake { owner, epoch, definitions, max, answer }).await?
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        let Inner { readers, clock, idempotency_window, .. } = &*self.inner;
        read::list(readers, query, clock.now(), *idempotency_window).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        read::census(&self.inner.readers).await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        let outlines = outlines.to_vec();
        self.job(|answer| Job::Describe { outlines, answer }).await?
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        audit::read(&self.inner.readers, key, limit).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        read::outlines(&self.inner.readers).await
    }
}
