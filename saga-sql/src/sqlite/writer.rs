//! The one task that writes: it takes what has gathered, and commits it at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use saga_core::Error;
use saga_core::ports::{Append, AppendError, Clock, Lease, Version, Woken};
use saga_core::record::{DefinitionRef, Outline, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{mpsc, oneshot};

use super::program::Program;
use super::wake::Wake;
use super::{append, lease, wake};
use crate::error::told;
use crate::reading::definition;
use crate::stored::write_outline;

/// How many calls are taken together.
const GATHER_MAX: usize = 256;

/// A call that writes.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        batch: Vec<Append>,
        answer: oneshot::Sender<Vec<Result<Version, AppendError>>>,
    },
    Lease {
        owner: Arc<str>,
        epoch: Option<u64>,
        ttl: Duration,
        answer: oneshot::Sender<Result<Lease, Error>>,
    },
    Release {
        owner: Arc<str>,
        epoch: u64,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Wake {
        owner: Arc<str>,
        epoch: u64,
        definitions: Vec<DefinitionRef>,
        max: usize,
        answer: oneshot::Sender<Result<Vec<Woken>, Error>>,
    },
    Describe {
        outlines: Vec<Outline>,
        answer: oneshot::Sender<Result<(), Error>>,
    },
}

const DESCRIBE: &str = "\
    INSERT INTO saga_log_definitions (name, version, digest, outline) VALUES (?, ?, ?, ?) \
    ON CONFLICT DO UPDATE SET outline = excluded.outline";

#[derive(Debug)]
pub(super) struct Writer {
    /// `None` when its thread has died, until it is opened again.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) idempotency_window: Duration,
    pub(super) programs: Vec<Program>,
    pub(super) known: Known,
    /// When settled sagas that are too old are looked for next.
    pub(super) prune_at: Timestamp,
    /// How many commits have written something.
    pub(super) commits: Arc<AtomicU64>,
}

/// What was read once and never changes.
#[derive(Debug, Default)]
pub(super) struct Known {
    numbers: HashMap<DefinitionRef, i64>,
    definitions: HashMap<i64, DefinitionRef>,
    /// The owner of each epoch.
    pub(super) owners: HashMap<u64, Arc<str>>,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        clock: Arc<dyn Clock>,
        idempotency_window: Duration,
    ) -> Self {
        Self {
            connection: Some(connection),
            options,
            clock,
            idempotency_window,
            programs: Program::all(),
            known: Known::default(),
            prune_at: Timestamp::default(),
            commits: Arc::default(),
        }
    }

    /// Something was written, and is durable.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while queue.recv_many(&mut jobs, GATHER_MAX).await > 0 {
            self.work(&mut jobs).await;
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the saga log's file could not be closed properly");
        }
    }

    /// Works jobs off in their order, the appends between two others together.
    async fn work(&mut self, jobs: &mut Vec<Job>) {
        let mut batches = Vec::new();
        for job in jobs.drain(..) {
            if let Job::Append { batch, answer } = job {
                batches.push((batch, answer));
                continue;
            }
            self.append(&mut batches).await;
            self.other(job).await;
        }
        self.append(&mut batches).await;
    }

    async fn append(&mut self, batches: &mut Batches) {
        if batches.is_empty() {
            return;
        }
        let (parts, answers): (Vec<_>, Vec<_>) = batches.drain(..).unzip();
        let sizes: Vec<_> = parts.iter().map(Vec::len).collect();
        let mut results = append::commit(self, parts.into_iter().flatten().collect()).await.into_iter();
        for (size, answer) in sizes.into_iter().zip(answers) {
            // Whoever asked may be gone.
            let _gone = answer.send(results.by_ref().take(size).collect());
        }
    }

    async fn other(&mut self, job: Job) {
        match job {
            Job::Append { .. } => unreachable!("appends go together"),
            Job::Lease { owner, epoch, ttl, answer } => {
                let _gone = answer.send(lease::lease(self, &owner, epoch, ttl).await);
            }
            Job::Release { owner, epoch, answer } => {
                let _gone = answer.send(lease::release(self, &owner, epoch).await);
            }
            Job::Wake { owner, epoch, definitions, max, answer } => {
                let wake = Wake { owner: &owner, epoch, definitions: &definitions, max };
                let _gone = answer.send(wake::wake(self, wake).await);
            }
            Job::Describe { outlines, answer } => {
                let _gone = answer.send(self.describe(outlines).await);
            }
        }
    }

    /// The connection, opened again if it has died.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        if self.connection.is_none() {
            let opened = self.options.connect().await;
            let opened = opened.map_err(|error| told("the saga log's file cannot be opened again", error))?;
            self.connection = Some(opened);
        }
        Ok(self.connection.as_mut().expect("it is open"))
    }

    /// After a failure: nothing of the transaction stays.
    pub(super) async fn roll_back(&mut self) {
        if let Some(connection) = &mut self.connection {
            // It fails where there is no transaction any more, because SQLite has rolled it back by itself.
            let _none = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
            if connection.ping().await.is_err() {
                self.connection = None;
            }
        }
    }

    /// The numbers of these definitions, which get one if they have none.
    pub(super) async fn number(&mut self, definitions: &[&DefinitionRef]) -> Result<(), Error> {
        for definition in definitions {
            if self.known.numbers.contains_key(*definition) {
                continue;
            }
            let connection = self.connection().await?;
            let insert = "INSERT INTO saga_log_definitions (name, version, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
            let insert = sqlx::query(insert)
                .bind(Arc::clone(&definition.name))
                .bind(i64::from(definition.version))
                .bind(definition.digest.to_string());
            let inserted = insert.execute(&mut *connection).await;
            inserted.map_err(|error| told(format!("definition {definition} cannot be filed"), error))?;
            self.read_definitions().await?;
        }
        Ok(())
    }

    /// Keeps what definitions look like.
    async fn describe(&mut self, outlines: Vec<Outline>) -> Result<(), Error> {
        for outline in outlines {
            let id = &outline.definition;
            let failed = |error| told(format!("definition {id} cannot be described in the saga log"), error);
            let connection = self.connection().await?;
            let describe = sqlx::query(DESCRIBE).bind(Arc::clone(&id.name)).bind(i64::from(id.version));
            let describe = describe.bind(id.digest.to_string()).bind(write_outline(&outline)?);
            describe.execute(&mut *connection).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Reads all definitions that the log knows: they are few.
    pub(super) async fn read_definitions(&mut self) -> Result<(), Error> {
        let connection = self.connection().await?;
        let query = sqlx::query("SELECT no, name, version, digest FROM saga_log_definitions");
        let rows = query.fetch_all(&mut *connection).await;
        for row in rows.map_err(|error| told("the definitions in the saga log cannot be read", error))? {
            let (no, definition) = definition_of(&row)?;
            self.known.numbers.insert(definition.clone(), no);
            self.known.definitions.insert(no, definition);
        }
        Ok(())
    }
}

type Batches = Vec<(Vec<Append>, oneshot::Sender<Vec<Result<Version, AppendError>>>)>;

impl Known {
    pub(super) fn number(&self, definition: &DefinitionRef) -> Option<i64> {
        self.numbers.get(definition).copied()
    }

    pub(super) fn definition(&self, no: i64) -> Option<&DefinitionRef> {
        self.definitions.get(&no)
    }
}

/// A row of the table of definitions: no, name, version, digest.
pub(super) fn definition_of(row: &sqlx::sqlite::SqliteRow) -> Result<(i64, DefinitionRef), Error> {
    let no = row.get(0);
    Ok((no, definition(no, row.get(1), row.get(2), row.get(3))?))
}
