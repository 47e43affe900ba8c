use std::path::PathBuf;
use std::sync::Arc;

use saga_core::Error;
use saga_core::memory::TokioClock;
pub(super) use saga_sql::sqlite::SqliteInbox as DatabaseInbox;
use saga_sql::sqlite::SqliteInboxConfig;
pub(super) use saga_sql::sqlx::Sqlite as Database;
use saga_sql::sqlx::{AssertSqlSafe, query, raw_sql};

/// A file of a case's own.
pub(super) struct Stand {
    pub(super) inbox: DatabaseInbox,
    folder: PathBuf,
}

/// What a handler that has its own pool begins a transaction with.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

impl Stand {
    pub(super) async fn new(case: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("saga-sql-barrier-{}-{case}", std::process::id()));
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let inbox = Self::open(&folder, i64::MAX as u64).await.unwrap();
        let stand = Self { inbox, folder };
        stand.run("CREATE TABLE ledger (run TEXT NOT NULL, amount INTEGER NOT NULL)").await;
        stand
    }

    async fn open(folder: &std::path::Path, rows_kept_for_ms: u64) -> Result<DatabaseInbox, Error> {
        let mut config = SqliteInboxConfig::new(folder.join("books.db"));
        config.rows_kept_for_ms = rows_kept_for_ms;
        DatabaseInbox::open(config, Arc::new(TokioClock::new())).await
    }

    /// Another one on the same database, as another process would.
    pub(super) async fn again(&self) -> DatabaseInbox {
        Self::open(&self.folder, i64::MAX as u64).await.unwrap()
    }

    pub(super) async fn keeping_rows_for(&self, ms: u64) -> Result<DatabaseInbox, Error> {
        Self::open(&self.folder, ms).await
    }

    pub(super) async fn run(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.inbox.pool()).await.unwrap();
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        use saga_sql::sqlx::Row;
        query(AssertSqlSafe(sql.to_owned())).fetch_one(self.inbox.pool()).await.unwrap().get(0)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_dir_all(&self.folder);
    }
}
