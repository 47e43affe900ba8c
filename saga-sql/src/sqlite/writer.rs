//! The one thread that writes: it takes what has gathered, and commits it at once. It uses SQLite by its blocking interface: through an
//! asynchronous one, each statement would be a round trip to a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use saga_core::Error;
use saga_core::ports::{Append, AppendError, Clock, Lease, Version, Woken};
use saga_core::record::{DefinitionRef, Outline, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::config::{PRAGMAS, SqliteLogConfig};
use super::wake::Wake;
use super::{append, lease, wake};
use crate::error::told;
use crate::reading::definition;
use crate::stored::write_outline;

/// How many calls are taken together.
const GATHER_MAX: usize = 256;

/// How many statements stay prepared: all there are.
const STATEMENTS_MAX: usize = 64;

/// In KiB, and negative as SQLite wants it; less than other connections have: where a page was split, SQLite goes through its whole table of
/// cached pages with the commit.
const CACHE: i64 = -8_192;

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
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) idempotency_window: Duration,
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
    /// Opens the file, which is there, a second time.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(config: &SqliteLogConfig, clock: Arc<dyn Clock>) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&config.path, flags)?;
        connection.busy_timeout(Duration::from_millis(config.busy_timeout_ms))?;
        connection.pragma_update(None, "synchronous", config.synchronous.name())?;
        for (name, value) in PRAGMAS {
            connection.pragma_update(None, name, value)?;
        }
        connection.pragma_update(None, "cache_size", CACHE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Self {
            connection,
            clock,
            idempotency_window: config.idempotency_window(),
            known: Known::default(),
            prune_at: Timestamp::default(),
            commits: Arc::default(),
        })
    }

    /// Something was written, and is durable.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes until nobody can ask any more, and closes the file. It blocks.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while queue.blocking_recv_many(&mut jobs, GATHER_MAX) > 0 {
            self.work(&mut jobs);
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the saga log's file could not be closed properly");
        }
    }

    /// Works jobs off in their order, the appends between two others together.
    fn work(&mut self, jobs: &mut Vec<Job>) {
        let mut batches = Vec::new();
        for job in jobs.drain(..) {
            if let Job::Append { batch, answer } = job {
                batches.push((batch, answer));
                continue;
            }
            self.append(&mut batches);
            self.other(job);
        }
        self.append(&mut batches);
    }

    fn append(&mut self, batches: &mut Batches) {
        if batches.is_empty() {
            return;
        }
        let (parts, answers): (Vec<_>, Vec<_>) = batches.drain(..).unzip();
        let sizes: Vec<_> = parts.iter().map(Vec::len).collect();
        let batch: Vec<_> = parts.into_iter().flatten().collect();
        let mut results = append::commit(self, &batch).into_iter();
        for (size, answer) in sizes.into_iter().zip(answers) {
            // Whoever asked may be gone.
            let _gone = answer.send(results.by_ref().take(size).collect());
        }
    }

    fn other(&mut self, job: Job) {
        match job {
            Job::Append { .. } => unreachable!("appends go together"),
            Job::Lease { owner, epoch, ttl, answer } => {
                let _gone = answer.send(lease::lease(self, &owner, epoch, ttl));
            }
            Job::Release { owner, epoch, answer } => {
                let _gone = answer.send(lease::release(self, &owner, epoch));
            }
            Job::Wake { owner, epoch, definitions, max, answer } => {
                let wake = Wake { owner: &owner, epoch, definitions: &definitions, max };
                let _gone = answer.send(wake::wake(self, wake));
            }
            Job::Describe { outlines, answer } => {
                let _gone = answer.send(self.describe(outlines));
            }
        }
    }

    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute(()).map(drop)
    }

    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute(()).map(drop)
    }

    /// After a failure: nothing of the transaction stays.
    pub(super) fn roll_back(&self) {
        // SQLite may have rolled it back by itself.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction of the saga log could not be rolled back");
        }
    }

    /// Sees to it that a definition has a number.
    pub(super) fn number(&mut self, definition: &DefinitionRef) -> Result<(), Error> {
        if self.known.numbers.contains_key(definition) {
            return Ok(());
        }
        let insert = "INSERT INTO saga_log_definitions (name, version, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
        let row = (&*definition.name, definition.version, definition.digest.to_string());
        let inserted = self.connection.execute(insert, row);
        inserted.map_err(|error| told(format!("definition {definition} cannot be filed"), error))?;
        self.read_definitions()
    }

    /// Keeps what definitions look like.
    fn describe(&self, outlines: Vec<Outline>) -> Result<(), Error> {
        for outline in outlines {
            let id = &outline.definition;
            let row = (&*id.name, id.version, id.digest.to_string(), write_outline(&outline)?);
            let failed = |error| told(format!("definition {id} cannot be described in the saga log"), error);
            self.connection.execute(DESCRIBE, row).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads all definitions that the log knows: they are few.
    pub(super) fn read_definitions(&mut self) -> Result<(), Error> {
        let failed = |error| told("the definitions in the saga log cannot be read", error);
        let query = "SELECT no, name, version, digest FROM saga_log_definitions";
        let mut query = self.connection.prepare_cached(query).map_err(failed)?;
        let mut rows = query.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let text = |at: usize| row.get::<_, String>(at).map_err(failed);
            let no = row.get(0).map_err(failed)?;
            let definition = definition(no, text(1)?, row.get(2).map_err(failed)?, &text(3)?)?;
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

#[cfg(test)]
mod tests {
    use saga_core::memory::TokioClock;

    use super::super::config::Synchronous;
    use super::*;

    #[test]
    fn what_is_committed_is_synced_unless_it_is_asked_otherwise() {
        let file = std::env::temp_dir().join(format!("saga-sql-writer-{}.db", std::process::id()));
        Connection::open(&file).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
        let mode = |synchronous| {
            let config = SqliteLogConfig { synchronous, ..SqliteLogConfig::new(&file) };
            let writer = Writer::open(&config, Arc::new(TokioClock::new())).unwrap();
            writer.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap()
        };
        // As SQLite numbers them.
        assert_eq!((mode(Synchronous::default()), mode(Synchronous::Normal)), (2, 1));
        std::fs::remove_file(&file).unwrap();
    }
}
