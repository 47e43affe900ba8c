//! The books: what was done for each step, counted in the database in which it is done. Nobody but the participants writes them.

use std::time::Duration;

use saga::sql::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use saga::sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use saga::sql::sqlx::{self, PgPool, SqlitePool};

use crate::Failure;

/// Counts an effect.
pub(crate) const DO: &str = "INSERT INTO effects (run, step, job, did, undid) VALUES ($1, $2, $3, 1, 0) \
    ON CONFLICT (run, step) DO UPDATE SET did = effects.did + 1";
/// Counts an undoing of it, if there is something to be undone.
pub(crate) const UNDO: &str =
    "UPDATE effects SET undid = undid + 1 WHERE run = $1 AND step = $2 AND did > undid";
/// Keeps the id of a call.
pub(crate) const CALL: &str = "INSERT INTO calls (id, job) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS effects (run text, step text, job text, did bigint, undid bigint, PRIMARY KEY (run, step))",
    "CREATE TABLE IF NOT EXISTS calls (id text PRIMARY KEY, job text)",
];

/// The books of one kind of participant, wherever they are.
#[derive(Clone, Debug)]
pub(crate) enum Books {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// What the books say of a step.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) job: String,
    pub(crate) step: String,
    pub(crate) did: i64,
    pub(crate) undid: i64,
}

/// The URL of these books, as the barrier takes it.
pub(crate) fn url(place: &str, kind: &str) -> String {
    if place.starts_with("postgres") {
        let mark = if place.contains('?') { '&' } else { '?' };
        format!("{place}{mark}schema={}", schema(kind))
    } else {
        format!("sqlite:{place}/{kind}.db")
    }
}

/// The schema of a kind's tables in this run.
fn schema(kind: &str) -> String {
    let run = std::env::var(SCHEMA);
    format!("{}_{kind}", run.as_deref().unwrap_or("chaos"))
}

/// The variable that holds how the schemas of this run begin.
pub(crate) const SCHEMA: &str = "SAGA_CHAOS_SCHEMA";

impl Books {
    /// Opens the books of a kind. On PostgreSQL their schema must be there.
    pub(crate) async fn open(place: &str, kind: &str) -> Result<Self, Failure> {
        if place.starts_with("postgres") {
            let options: PgConnectOptions = place.parse()?;
            let options = options.options([("search_path", schema(kind))]);
            Ok(Self::Postgres(PgPoolOptions::new().max_connections(4).connect_lazy_with(options)))
        } else {
            let options = SqliteConnectOptions::new().filename(format!("{place}/{kind}.db"));
            let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
            let options = options.busy_timeout(Duration::from_secs(10));
            Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options)))
        }
    }

    /// Makes the schema and the tables.
    pub(crate) async fn make(place: &str, kind: &str) -> Result<Self, Failure> {
        let books = Self::open(place, kind).await?;
        if place.starts_with("postgres") {
            books.execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", schema(kind)), &[]).await?;
        }
        for table in TABLES {
            books.execute(table, &[]).await?;
        }
        Ok(books)
    }

    pub(crate) async fn execute(&self, sql: &str, binds: &[&str]) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(pool) => {
                let query = binds.iter().fold(sqlx::query(sql), |query, bind| query.bind(*bind));
                query.execute(pool).await.map(drop)
            }
            Self::Sqlite(pool) => {
                let query = binds.iter().fold(sqlx::query(sql), |query, bind| query.bind(*bind));
                query.execute(pool).await.map(drop)
            }
        }
    }

    pub(crate) async fn lines(&self) -> Result<Vec<Line>, sqlx::Error> {
        const LINES: &str = "SELECT job, step, did, undid FROM effects";
        let lines: Vec<(String, String, i64, i64)> = match self {
            Self::Postgres(pool) => sqlx::query_as(LINES).fetch_all(pool).await?,
            Self::Sqlite(pool) => sqlx::query_as(LINES).fetch_all(pool).await?,
        };
        Ok(lines.into_iter().map(|(job, step, did, undid)| Line { job, step, did, undid }).collect())
    }

    /// The ids of the calls, with the jobs they were for.
    pub(crate) async fn calls(&self) -> Result<Vec<(String, String)>, sqlx::Error> {
        const CALLS: &str = "SELECT id, job FROM calls";
        match self {
            Self::Postgres(pool) => sqlx::query_as(CALLS).fetch_all(pool).await,
            Self::Sqlite(pool) => sqlx::query_as(CALLS).fetch_all(pool).await,
        }
    }
}
