use std::sync::Arc;
use std::time::Duration;

use saga_sql::postgres::PostgresConfig;
pub(super) use saga_sql::postgres::{PostgresLeases as DatabaseLeases, PostgresOutbox as DatabaseOutbox};
pub(super) use saga_sql::sqlx::Postgres as Database;
use saga_sql::sqlx::{AssertSqlSafe, Connection, PgConnection, Row, Transaction, query, raw_sql};

use super::cases::{Running, slow_to_look};
use crate::bus::{RecordingBus, message};

/// A schema of a case's own.
pub(super) struct Stand {
    pub(super) outbox: DatabaseOutbox,
    pub(super) leases: DatabaseLeases,
    schema: String,
}

impl Stand {
    pub(super) async fn new(case: &str) -> Self {
        let mut schema = format!("outbox_{}_{case}", std::process::id());
        schema.truncate(60);
        let mut connection = PgConnection::connect(&url()).await.unwrap();
        let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
        raw_sql(drop).execute(&mut connection).await.unwrap();
        let outbox = DatabaseOutbox::open(config(&schema, 5)).await.unwrap();
        let leases = DatabaseLeases::on(outbox.pool().clone()).await.unwrap();
        let stand = Self { outbox, leases, schema };
        stand.run("CREATE TABLE ledger (id text NOT NULL, key text NOT NULL, number bigint NOT NULL)").await;
        stand
    }

    /// Another one on the same database, as another process would.
    pub(super) async fn again(&self) -> DatabaseOutbox {
        DatabaseOutbox::open(config(&self.schema, 2)).await.unwrap()
    }

    pub(super) async fn leases_again(&self) -> DatabaseLeases {
        DatabaseLeases::open(config(&self.schema, 1)).await.unwrap()
    }

    pub(super) async fn begin(outbox: &DatabaseOutbox) -> Transaction<'static, Database> {
        outbox.pool().begin().await.unwrap()
    }

    pub(super) async fn run(&self, sql: &str) {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.outbox.pool()).await.unwrap();
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        query(AssertSqlSafe(sql.to_owned())).fetch_one(self.outbox.pool()).await.unwrap().get(0)
    }
}

fn config(schema: &str, connections_max: u32) -> PostgresConfig {
    let mut config = PostgresConfig::from_url(&url()).unwrap();
    config.schema = Some(schema.to_owned());
    // Cases run side by side and open many: the server takes a hundred.
    config.connections_max = connections_max;
    config.connect_timeout_ms = 30_000;
    config
}

fn url() -> String {
    std::env::var("SAGA_POSTGRES_URL")
        .expect("SAGA_POSTGRES_URL is not set: run `cargo xtask test`, which starts PostgreSQL")
}

/// A transaction that began first, and so has the lower number, commits last.
pub(super) async fn a_row_committed_late_is_not_skipped(stand: Stand) {
    let bus = RecordingBus::new();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    let mut late = Stand::begin(&stand.outbox).await;
    stand.outbox.publish(&mut late, message("a", "late")).await.unwrap();
    let mut early = Stand::begin(&stand.outbox).await;
    stand.outbox.publish(&mut early, message("b", "early")).await.unwrap();
    early.commit().await.unwrap();
    bus.until(1).await;
    assert_eq!(bus.texts(), ["early"]);
    late.commit().await.unwrap();
    bus.until(2).await;
    assert_eq!(bus.texts(), ["early", "late"]);
    relay.stop().await;
}

/// It does not wait until it looks by itself.
pub(super) async fn a_relay_elsewhere_is_notified(stand: Stand) {
    let bus = RecordingBus::new();
    let relay = Running::start(stand.again().await.relay(Arc::clone(&bus) as _).with(slow_to_look()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut transaction = Stand::begin(&stand.outbox).await;
    stand.outbox.publish(&mut transaction, message("a", "1")).await.unwrap();
    let committed = std::time::Instant::now();
    transaction.commit().await.unwrap();
    bus.until(1).await;
    let took = committed.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    relay.stop().await;
}
