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

/// Where the books of a run are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// For SQLite a folder, for PostgreSQL the server's URL.
    pub(crate) at: String,
    /// The run's name: what its schemas begin with.
    pub(crate) run: String,
}

impl Place {
    /// The URL of a kind's books, as the barrier takes it.
    pub(crate) fn url(&self, kind: &str) -> String {
        let at = &self.at;
        if self.is_postgres() {
            let mark = if at.contains('?') { '&' } else { '?' };
            format!("{at}{mark}schema={}", self.schema(kind))
        } else {
            format!("sqlite:{at}/{kind}.db")
        }
    }

    fn is_postgres(&self) -> bool {
        self.at.starts_with("postgres")
    }

    fn schema(&self, kind: &str) -> String {
        format!("{}_{kind}", self.run)
    }
}

impl Books {
    /// Opens the books of a kind. On PostgreSQL their schema must be there.
    pub(crate) async fn open(place: &Place, kind: &str) -> Result<Self, Failure> {
        if place.is_postgres() {
            let options: PgConnectOptions = place.at.parse()?;
            let options = options.options([("search_path", place.schema(kind))]);
            Ok(Self::Postgres(PgPoolOptions::new().max_connections(4).connect_lazy_with(options)))
        } else {
            let options = SqliteConnectOptions::new().filename(format!("{}/{kind}.db", place.at));
            let options = options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
            let options = options.busy_timeout(Duration::from_secs(10));
            Ok(Self::Sqlite(SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options)))
        }
    }

    /// Makes the schema and the tables.
    pub(crate) async fn make(place: &Place, kind: &str) -> Result<Self, Failure> {
        let books = Self::open(place, kind).await?;
        if place.is_postgres() {
            books.execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", place.schema(kind)), &[]).await?;
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
