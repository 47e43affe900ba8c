//! The databases that hold the log: what they promise, and what they cost beside this process.

use std::sync::Arc;
use std::time::Duration;

use saga_core::ports::SagaLog;
use saga_sql::postgres::PostgresLog;
use saga_sql::sqlite::SqliteLog;
use saga_sql::sqlx::postgres::PgPool;
use saga_sql::sqlx::sqlite::SqlitePool;
use saga_sql::sqlx::{self, AssertSqlSafe, Row};

use crate::process::cpu_time_of;

/// PostgreSQL's processes tell what they have counted after so long without work at the latest.
const COUNTED_AFTER: Duration = Duration::from_secs(11);

/// A database with a saga log.
pub(crate) enum Store {
    Sqlite(SqliteLog),
    Postgres(PgPool),
}

/// A database, and a log in it.
pub(crate) type Opened = (Store, Arc<dyn SagaLog>);

impl Store {
    /// Opens the log that a URL names.
    pub(crate) async fn open(url: &str) -> Opened {
        if url.starts_with("sqlite:") {
            let log = SqliteLog::connect(url).await.expect("the file can be opened");
            return (Self::Sqlite(log.clone()), Arc::new(log));
        }
        let log = PostgresLog::connect(url).await.expect("the server can be reached");
        (Self::server(url).await, Arc::new(log))
    }

    /// The server alone.
    pub(crate) async fn server(url: &str) -> Self {
        let plain = url.split('?').next().unwrap_or_default();
        Self::Postgres(PgPool::connect(plain).await.expect("the server can be reached"))
    }

    /// Its version, and how durable what it acknowledges is.
    pub(crate) async fn promise(&self) -> String {
        match self {
            Self::Sqlite(_) => {
                let pool = SqlitePool::connect("sqlite::memory:").await.expect("it needs nothing");
                let version = sqlx::query("SELECT sqlite_version()").fetch_one(&pool).await;
                let version: String = version.expect("it has one").get(0);
                format!("SQLite {version}, write-ahead log, synchronous=FULL")
            }
            Self::Postgres(pool) => {
                let mut promise = format!("PostgreSQL {}", shown(pool, "server_version").await);
                for name in ["fsync", "synchronous_commit", "wal_sync_method"] {
                    promise += &format!(", {name}={}", shown(pool, name).await);
                }
                promise
            }
        }
    }

    /// What is counted by [`syncs`](Self::syncs).
    pub(crate) const fn counted(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "commits of the log's writer that wrote, each one sync of the write-ahead log; what checkpoints sync is not counted"
            }
            Self::Postgres(_) => "syncs of the write-ahead log by the whole server: wal_sync of pg_stat_wal",
        }
    }

    /// How often it told the disk to keep what was written, up to now.
    pub(crate) async fn syncs(&self) -> u64 {
        match self {
            Self::Sqlite(log) => log.commits(),
            Self::Postgres(pool) => {
                tokio::time::sleep(COUNTED_AFTER).await;
                let row = sqlx::query("SELECT wal_sync FROM pg_stat_wal").fetch_one(pool).await;
                row.expect("PostgreSQL 14 or later counts them").get::<i64, _>(0).unsigned_abs()
            }
        }
    }

    /// The CPU time that its server has used, if it is one and runs on this machine.
    pub(crate) async fn server_cpu(&self) -> Duration {
        let Self::Postgres(pool) = self else { return Duration::ZERO };
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(pool).await.expect("it answers");
        cpu_time_of(row.get::<i32, _>(0).unsigned_abs())
    }
}

async fn shown(pool: &PgPool, name: &str) -> String {
    let row = sqlx::query(AssertSqlSafe(format!("SHOW {name}"))).fetch_one(pool).await;
    row.expect("it is shown").get(0)
}

/// A URL for one run of a benchmark: PostgreSQL gets a schema of its own.
pub(crate) fn of_this_run(url: &str) -> String {
    if url.starts_with("sqlite:") || url.contains("schema=") {
        return url.to_owned();
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}schema=bench_{}", std::process::id())
}

/// Ends the program if the file is there: it may know the sagas already, which would then end without having run.
pub(crate) fn refuse_used(url: &str) {
    if let Some(file) = url.strip_prefix("sqlite:").filter(|file| std::path::Path::new(file).exists()) {
        eprintln!("{file} is there already: name a new file");
        std::process::exit(2);
    }
}

/// Drops what [`of_this_run`] had made.
pub(crate) async fn clean(url: &str) {
    let schema = format!("bench_{}", std::process::id());
    if !url.ends_with(&schema) {
        return;
    }
    let plain = url.split('?').next().unwrap_or_default();
    let pool = PgPool::connect(plain).await.expect("the server can be reached");
    let drop = sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE")));
    drop.execute(&pool).await.expect("it is ours");
}
