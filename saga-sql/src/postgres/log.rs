use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use saga_core::Error;
use saga_core::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga_core::record::{DefinitionRef, Outline, SagaKey};

use super::config::PostgresConfig;
use super::connect::Database;
use super::{append, audit, lease, outline, read, wake};
use crate::schema::postgres::LOG;

/// A [`SagaLog`] in PostgreSQL, for any number of coordinators on any machines. Cloning shares it.
///
/// - What a coordinator has decided about many sagas is committed at once. Appends to one saga exclude each other by its row's lock;
///   rows are locked in one order, so that batches which overlap wait for each other at most.
/// - Its clock is the database's.
/// - Of a settled saga a tombstone stays, for the idempotency window; its entries go at once.
/// - Its connections switch sequential scans, hash joins, merge joins and JIT off, by the parameter `options` of the startup packet: behind PgBouncer,
///   `ignore_startup_parameters` must name it.
/// - A commit whose answer got lost is told as [`AppendError::Unknown`]: the coordinator reads the saga before it decides again.
///
/// The tables are documented in `docs/sql.md`.
#[derive(Clone)]
pub struct PostgresLog {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) database: Database,
    pub(super) idempotency_window: Duration,
    known: Mutex<Known>,
}

/// What was read once and never changes, and when to prune next.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) numbers: HashMap<DefinitionRef, i64>,
    pub(super) definitions: HashMap<i64, DefinitionRef>,
    /// The owner of each epoch.
    pub(super) owners: HashMap<u64, Arc<str>>,
    pub(super) prune_at: Option<Instant>,
}

impl PostgresLog {
    /// Connects to the server that a URL names, `postgres://user:password@host/database`; see [`PostgresConfig`] for what else can stand
    /// in it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(PostgresConfig::from_url(url)?).await
    }

    /// Connects, and makes the tables if they are not there.
    ///
    /// # Errors
    /// [`Retry`](saga_core::ErrorKind::Retry) when the server is away; [`Permanent`](saga_core::ErrorKind::Permanent) when it refuses, for
    /// example the password, or when the schema is newer than this version of the library.
    pub async fn open(config: PostgresConfig) -> Result<Self, Error> {
        let database = Database::open(&config, &LOG).await?;
        let idempotency_window = config.idempotency_window();
        let inner = Inner { database, idempotency_window, known: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// Never held across an await.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the sagas: their entries carry personal data.
impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = &self.inner.idempotency_window;
        f.debug_struct("PostgresLog").field("idempotency_window", window).finish_non_exhaustive()
    }
}

#[async_trait]
impl SagaLog for PostgresLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        append::commit(&self.inner, batch).await
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        read::load(&self.inner, keys).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        lease::lease(&self.inner, owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        lease::release(&self.inner, owner, epoch).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        wake::wake(&self.inner, owner, epoch, definitions, max).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        read::list(&self.inner, query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        read::census(&self.inner).await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        outline::describe(&self.inner, outlines).await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        audit::read(&self.inner, key, limit).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        outline::outlines(&self.inner).await
    }
}
