use std::time::{Duration, Instant};

use saga_core::ErrorKind;
use saga_core::ports::{AppendError, Record, SagaLog};
use saga_sql::postgres::{PostgresConfig, PostgresLog};
use saga_sql::sqlx::{AssertSqlSafe, Connection, PgConnection, Row, query, raw_sql};

use crate::sagas::{at, key};

fn url() -> String {
    std::env::var("SAGA_POSTGRES_URL")
        .expect("SAGA_POSTGRES_URL is not set: run `cargo xtask test`, which starts PostgreSQL")
}

/// A schema of a case's own.
async fn schema(case: &str) -> (PostgresConfig, PgConnection) {
    let schema = format!("trouble_{}_{case}", std::process::id());
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    let drop = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
    raw_sql(drop).execute(&mut connection).await.unwrap();
    let mut config = PostgresConfig::from_url(&url()).unwrap();
    config.schema = Some(schema.clone());
    PostgresLog::open(config.clone()).await.unwrap();
    let path = AssertSqlSafe(format!("SET search_path TO {schema}"));
    raw_sql(path).execute(&mut connection).await.unwrap();
    (config, connection)
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn a_newer_schema_is_refused() {
    let (config, mut connection) = schema("newer").await;
    raw_sql("UPDATE saga_schema SET version = 99").execute(&mut connection).await.unwrap();
    let error = PostgresLog::open(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(error.to_string().contains("has version 99"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn a_wrong_password_and_a_server_that_is_away_are_told_apart() {
    let wrong = url().replace(":saga@", ":sekret@");
    assert_ne!(wrong, url(), "the test knows the server's password");
    let error = PostgresLog::connect(&wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!error.to_string().contains("sekret"), "{error}");
    let begun = Instant::now();
    let error = PostgresLog::connect("postgres://saga:sekret@127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10) && !error.to_string().contains("sekret"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn one_bad_append_never_fails_its_batch() {
    let (config, mut connection) = schema("bad").await;
    let log = PostgresLog::open(config).await.unwrap();
    let refuse = "ALTER TABLE saga_log ADD CHECK (id <> 'bad')";
    raw_sql(refuse).execute(&mut connection).await.unwrap();
    let ids = ["a", "b", "bad", "c", "d"];
    let answers = log.append(ids.iter().map(|id| at(id, 0)).collect()).await;
    for (id, answer) in ids.iter().zip(&answers) {
        match answer {
            Ok(1) if *id != "bad" => {}
            Err(AppendError::Failed(error)) if *id == "bad" => {
                assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
            }
            other => panic!("{id}: {other:?}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn a_corrupt_entry_makes_its_saga_unreadable_and_no_other() {
    let (config, mut connection) = schema("corrupt").await;
    let log = PostgresLog::open(config).await.unwrap();
    log.append(vec![at("broken", 0), at("good", 0)]).await;
    let corrupt = "UPDATE saga_log_entries SET entries = '[{' \
        WHERE saga = (SELECT no FROM saga_log WHERE id = 'broken')";
    raw_sql(corrupt).execute(&mut connection).await.unwrap();
    let records = log.load(&[key("broken"), key("good")]).await;
    let error = records[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("saga checkout/broken"), "{error}");
    assert!(matches!(&records[1], Ok(Some(Record::Stored(_)))));
}

/// The server closes all connections, as it does when it is restarted: the log goes on with new ones.
#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn connections_that_are_cut_are_replaced() {
    let (mut config, mut connection) = schema("cut").await;
    config.connection = config.connection.application_name("to be cut");
    let log = PostgresLog::open(config).await.unwrap();
    assert!(matches!(log.append(vec![at("a", 0)]).await[0], Ok(1)));
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be cut'";
    query(cut).fetch_all(&mut connection).await.unwrap();
    let begun = Instant::now();
    let mut version = 1;
    while version < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not recover");
        match log.append(vec![at("a", version)]).await.remove(0) {
            Ok(next) => version = next,
            // The coordinator reads the saga after that, and decides again.
            Err(AppendError::Failed(error) | AppendError::Unknown(error)) => {
                assert!(error.is_retryable(), "{error}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn people_can_read_the_tables() {
    let (config, mut connection) = schema("views").await;
    let log = PostgresLog::open(config).await.unwrap();
    log.append(vec![at("a", 0), at("a", 1)]).await;
    let line =
        query("SELECT saga, id, status, entries FROM saga_log_overview").fetch_one(&mut connection).await;
    let line = line.unwrap();
    assert_eq!((line.get::<String, _>(2), line.get::<i64, _>(3)), ("running".to_owned(), 2));
    let history =
        query("SELECT number, fact FROM saga_log_history ORDER BY number").fetch_all(&mut connection).await;
    let history: Vec<(i64, String)> = history.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(history, [(0, "succeeded".to_owned()), (1, "succeeded".to_owned())]);
}

/// They stay for a day, and are looked through ten times a second for those that are too old.
#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn tombstones_that_stay_are_not_read_again_and_again() {
    const TOMBSTONES: i64 = 20_000;
    const WITHIN: Duration = Duration::from_secs(60);
    let (config, mut connection) = schema("tombstones").await;
    let log = PostgresLog::open(config).await.unwrap();
    let fill = "INSERT INTO saga_log (saga, id, run, status, version, changed_at, owner, settled_at) \
        SELECT 'checkout', n::text, '', 'completed', 0, 0, 0, saga_log_now() FROM generate_series(1, $1) n";
    query(fill).bind(TOMBSTONES).execute(&mut connection).await.unwrap();
    let epoch = log.lease("me", None, 2 * WITHIN).await.unwrap().epoch;
    let mut looked_through = async || {
        let look = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes \
            WHERE schemaname = current_schema() AND indexrelname = 'saga_log_settled'";
        let row = query(look).fetch_one(&mut connection).await.unwrap();
        (row.get::<i64, _>(0), row.get::<i64, _>(1))
    };
    let before = looked_through().await;
    let begun = Instant::now();
    // What the server counts, it tells some time later.
    let read = loop {
        log.wake("me", epoch, &[], 9).await.unwrap();
        let (times, read) = looked_through().await;
        if times >= before.0 + 3 {
            break read - before.1;
        }
        assert!(begun.elapsed() < WITHIN, "nobody looks for old ones by their index");
        tokio::time::sleep(Duration::from_millis(110)).await;
    };
    assert!(read < TOMBSTONES, "{read} read, of which none is old");
}
