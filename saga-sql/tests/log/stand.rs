//! A log to be tested, and the hands of its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga_core::memory::MemoryLog;
use saga_core::ports::{Append, AppendError, Clock, Record, SagaLog, StoredSaga, Tombstone, Version};
use saga_core::record::{
    DefinitionRef, Digest, Ending, Entry, Fact, Payload, RunId, SagaId, SagaKey, Status, StepIndex, Timestamp,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The idempotency window of every stand.
pub(crate) const WINDOW: Duration = Duration::from_secs(100);

pub(crate) struct Stand {
    pub(crate) log: Arc<dyn SagaLog>,
    hands: Hands,
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only files need a folder"))]
    folder: Option<Folder>,
}

/// What moves the log's clock.
enum Hands {
    Ours(Arc<ManualClock>),
    #[cfg(feature = "postgres")]
    Theirs(postgres::Database),
}

/// A clock that stands still unless it is moved.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicU64);

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A folder that is gone afterwards.
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_dir_all(&self.0);
    }
}

impl Stand {
    pub(crate) fn memory() -> Self {
        let clock = clock();
        let log = MemoryLog::builder().clock(Arc::clone(&clock) as _).idempotency_window(WINDOW);
        let log = Arc::new(log.strict_storage(true).build());
        Self { log, hands: Hands::Ours(clock), folder: None }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) async fn sqlite(case: &str) -> Self {
        use saga_sql::sqlite::{SqliteLog, SqliteLogConfig};
        let folder = std::env::temp_dir().join(format!("saga-sql-log-{}-{case}", std::process::id()));
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = SqliteLogConfig::new(folder.join("log.db"));
        config.idempotency_window_ms = WINDOW.as_millis() as u64;
        let clock = clock();
        let log = SqliteLog::open(config, Arc::clone(&clock) as _).await.unwrap();
        Self { log: Arc::new(log), hands: Hands::Ours(clock), folder: Some(Folder(folder)) }
    }

    /// Another one that uses the same log, as another process would.
    pub(crate) async fn again(&self) -> Arc<dyn SagaLog> {
        match (&self.hands, &self.folder) {
            #[cfg(feature = "postgres")]
            (Hands::Theirs(database), _) => database.open().await,
            #[cfg(feature = "sqlite")]
            (Hands::Ours(clock), Some(folder)) => {
                use saga_sql::sqlite::{SqliteLog, SqliteLogConfig};
                let mut config = SqliteLogConfig::new(folder.0.join("log.db"));
                config.idempotency_window_ms = WINDOW.as_millis() as u64;
                Arc::new(SqliteLog::open(config, Arc::clone(clock) as _).await.unwrap())
            }
            _ => Arc::clone(&self.log),
        }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        match &self.hands {
            Hands::Ours(clock) => {
                clock.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
            }
            #[cfg(feature = "postgres")]
            Hands::Theirs(database) => database.advance(by).await,
        }
    }

    pub(crate) async fn append(&self, append: Append) -> Result<Version, AppendError> {
        self.log.append(vec![append]).await.remove(0)
    }

    pub(crate) async fn load(&self, id: &str) -> Option<Record> {
        self.log.load(&[key(id)]).await.remove(0).unwrap()
    }

    pub(crate) async fn stored(&self, id: &str) -> StoredSaga {
        match self.load(id).await {
            Some(Record::Stored(saga)) => saga,
            other => panic!("{other:?} instead of entries"),
        }
    }

    pub(crate) async fn now(&self) -> Timestamp {
        self.log.lease("the test's own clock", None, SECOND).await.unwrap().now
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock(AtomicU64::new(1_795_000_000_000)))
}

pub(crate) fn key(id: &str) -> SagaKey {
    SagaKey { saga: "checkout".into(), id: SagaId::new(id).unwrap() }
}

pub(crate) fn definition(version: u32) -> DefinitionRef {
    DefinitionRef { name: "checkout".into(), version, digest: Digest(7) }
}

pub(crate) fn entry(step: u16) -> Entry {
    let fact = Fact::Succeeded { step: StepIndex(step), output: Payload::from("{\"ok\": true}") };
    Entry { at: Timestamp::from_millis(step.into()), fact }
}

/// An append of one entry at this version, without a time to wake.
pub(crate) fn at(id: &str, expected: Version) -> Append {
    Append {
        key: key(id),
        run: RunId::from_u128(1),
        definition: definition(1),
        expected,
        entries: vec![entry(expected as u16)],
        status: Status::Running,
        wake_at: None,
        owner: None,
        settled: None,
    }
}

pub(crate) fn waking(id: &str, wake_at: Timestamp) -> Append {
    Append { wake_at: Some(wake_at), ..at(id, 0) }
}

pub(crate) fn owned(id: &str, wake_at: Timestamp, owner: &str, epoch: u64) -> Append {
    Append { owner: Some((owner.into(), epoch)), ..waking(id, wake_at) }
}

pub(crate) fn tombstone() -> Tombstone {
    Tombstone {
        run: RunId::from_u128(1),
        input_digest: 9 << 64 | 8,
        ending: Ending::Completed,
        cause: None,
        ended_at: Timestamp::from_millis(5),
    }
}

pub(crate) fn settling(id: &str, expected: Version) -> Append {
    Append { settled: Some(tombstone()), status: Status::Completed, ..at(id, expected) }
}

#[cfg(feature = "postgres")]
impl Stand {
    pub(crate) async fn postgres(case: &str) -> Self {
        let database = postgres::Database::new(case).await;
        let log = database.open().await;
        database.take_clock().await;
        Self { log, hands: Hands::Theirs(database), folder: None }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use saga_sql::postgres::{PostgresConfig, PostgresLog};
    use saga_sql::sqlx::postgres::{PgPool, PgPoolOptions};
    use saga_sql::sqlx::{AssertSqlSafe, raw_sql};

    /// A schema of a case's own.
    pub(super) struct Database {
        url: String,
        pool: PgPool,
        schema: String,
    }

    impl Database {
        pub(super) async fn new(case: &str) -> Self {
            let url = std::env::var("SAGA_POSTGRES_URL")
                .expect("SAGA_POSTGRES_URL is not set: run `cargo xtask test`, which starts PostgreSQL");
            let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
            let mut schema = format!("log_{}_{case}", std::process::id());
            schema.truncate(60);
            let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
            raw_sql(AssertSqlSafe(drop)).execute(&pool).await.unwrap();
            Self { url, pool, schema }
        }

        pub(super) async fn open(&self) -> Arc<dyn SagaLog> {
            let mut config = PostgresConfig::from_url(&self.url).unwrap();
            config.schema = Some(self.schema.clone());
            config.idempotency_window_ms = WINDOW.as_millis() as u64;
            Arc::new(PostgresLog::open(config).await.unwrap())
        }

        /// From now on the log's clock can be moved.
        pub(super) async fn take_clock(&self) {
            let schema = &self.schema;
            let sql = format!(
                "CREATE TABLE {schema}.hands (ms bigint NOT NULL); INSERT INTO {schema}.hands VALUES (0); \
                 CREATE OR REPLACE FUNCTION {schema}.saga_log_now() RETURNS bigint LANGUAGE sql VOLATILE AS \
                 $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + (SELECT ms FROM {schema}.hands) $$"
            );
            raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
        }

        pub(super) async fn advance(&self, by: Duration) {
            let sql = format!("UPDATE {}.hands SET ms = ms + {}", self.schema, by.as_millis());
            raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
        }
    }
}
