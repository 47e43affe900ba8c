use std::path::PathBuf;

pub(super) use saga_sql::sqlite::{SqliteLeases as DatabaseLeases, SqliteOutbox as DatabaseOutbox};
pub(super) use saga_sql::sqlx::Sqlite as Database;
use saga_sql::sqlx::{AssertSqlSafe, Row, Transaction, query, raw_sql};

/// A file of a case's own.
pub(super) struct Stand {
    pub(super) outbox: DatabaseOutbox,
    pub(super) leases: DatabaseLeases,
    folder: PathBuf,
}

impl Stand {
    pub(super) async fn new(case: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("saga-sql-outbox-{}-{case}", std::process::id()));
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let outbox = DatabaseOutbox::connect(&url(&folder)).await.unwrap();
        let leases = DatabaseLeases::on(outbox.pool().clone()).await.unwrap();
        let stand = Self { outbox, leases, folder };
        stand.run("CREATE TABLE ledger (id TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL)").await;
        stand
    }

    /// Another one on the same database, as another process would.
    pub(super) async fn again(&self) -> DatabaseOutbox {
        DatabaseOutbox::connect(&url(&self.folder)).await.unwrap()
    }

    pub(super) async fn leases_again(&self) -> DatabaseLeases {
        DatabaseLeases::connect(&url(&self.folder)).await.unwrap()
    }

    pub(super) async fn begin(outbox: &DatabaseOutbox) -> Transaction<'static, Database> {
        outbox.pool().begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    pub(super) async fn run(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.outbox.pool()).await.unwrap();
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        query(AssertSqlSafe(sql.to_owned())).fetch_one(self.outbox.pool()).await.unwrap().get(0)
    }
}

fn url(folder: &std::path::Path) -> String {
    format!("sqlite:{}?busy_timeout_ms=30000", folder.join("books.db").display())
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_dir_all(&self.folder);
    }
}
