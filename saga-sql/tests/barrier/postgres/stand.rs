use saga_core::Error;
use saga_sql::postgres::PostgresConfig;
pub(super) use saga_sql::postgres::PostgresInbox as DatabaseInbox;
pub(super) use saga_sql::sqlx::Postgres as Database;
use saga_sql::sqlx::{AssertSqlSafe, Connection, PgConnection, query, raw_sql};

/// A schema of a case's own.
pub(super) struct Stand {
    pub(super) inbox: DatabaseInbox,
    schema: String,
}

/// What a handler that has its own pool begins a transaction with.
pub(super) const BEGIN: &str = "BEGIN";

impl Stand {
    pub(super) async fn new(case: &str) -> Self {
        let mut schema = format!("barrier_{}_{case}", std::process::id());
        schema.truncate(60);
        let mut connection = PgConnection::connect(&url()).await.unwrap();
        let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
        raw_sql(drop).execute(&mut connection).await.unwrap();
        let inbox = Self::open(&schema, i64::MAX as u64 / 4).await.unwrap();
        let stand = Self { inbox, schema };
        stand.run("CREATE TABLE ledger (run text NOT NULL, amount bigint NOT NULL)").await;
        stand
    }

    async fn open(schema: &str, rows_kept_for_ms: u64) -> Result<DatabaseInbox, Error> {
        let mut config = PostgresConfig::from_url(&url())?;
        config.schema = Some(schema.to_owned());
        config.rows_kept_for_ms = rows_kept_for_ms;
        config.connections_max = 16;
        DatabaseInbox::open(config).await
    }

    /// Another one on the same database, as another process would.
    pub(super) async fn again(&self) -> DatabaseInbox {
        Self::open(&self.schema, i64::MAX as u64 / 4).await.unwrap()
    }

    pub(super) async fn keeping_rows_for(&self, ms: u64) -> Result<DatabaseInbox, Error> {
        Self::open(&self.schema, ms).await
    }

    pub(super) async fn run(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.inbox.pool()).await.unwrap();
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        use saga_sql::sqlx::Row;
        query(AssertSqlSafe(sql.to_owned())).fetch_one(self.inbox.pool()).await.unwrap().get(0)
    }
}

fn url() -> String {
    std::env::var("SAGA_POSTGRES_URL")
        .expect("SAGA_POSTGRES_URL is not set: run `cargo xtask test`, which starts PostgreSQL")
}
