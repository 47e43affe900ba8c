use std::path::{Path, PathBuf};
use std::sync::Arc;

use saga_core::memory::TokioClock;
use saga_core::ports::{AppendError, Record, SagaLog};
use saga_core::{Error, ErrorKind};
use saga_sql::sqlite::{
    SqliteInbox, SqliteInboxConfig, SqliteLeases, SqliteLog, SqliteLogConfig, SqliteOutbox,
};
use saga_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use saga_sql::sqlx::{AssertSqlSafe, ConnectOptions, Row, query, raw_sql};

use crate::sagas::{at, key};

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(case: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("saga-sql-trouble-{}-{case}", std::process::id()));
        let _old = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("log.db")
    }

    async fn open(&self) -> SqliteLog {
        open(&self.file()).await.unwrap()
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.file()).create_if_missing(true).connect().await.unwrap()
    }

    async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        raw_sql(sql).execute(&mut self.connection().await).await.unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _may_be_gone = std::fs::remove_dir_all(&self.0);
    }
}

async fn open(path: &Path) -> Result<SqliteLog, Error> {
    SqliteLog::open(SqliteLogConfig::new(path), Arc::new(TokioClock::new())).await
}

#[tokio::test]
async fn sagas_are_there_after_a_restart() {
    let folder = Folder::new("restart");
    let log = folder.open().await;
    log.append(vec![at("a", 0), at("b", 0)]).await;
    let lease = log.lease("me", None, std::time::Duration::from_secs(60)).await.unwrap();
    drop(log);
    let log = folder.open().await;
    let Ok(Some(Record::Stored(saga))) = log.load(&[key("a")]).await.remove(0) else { panic!("it is gone") };
    assert_eq!((saga.version, saga.definition.version), (1, 1));
    assert!(matches!(log.append(vec![at("b", 1)]).await[0], Ok(2)));
    let next = log.lease("me", None, std::time::Duration::from_secs(60)).await.unwrap();
    assert!(next.epoch > lease.epoch);
}

/// What acknowledged appends have been told to the disk.
#[tokio::test]
async fn commits_are_synced_by_default() {
    let folder = Folder::new("synced");
    let log = folder.open().await;
    log.append(vec![at("a", 0)]).await;
    let mut connection = folder.connection().await;
    let mode = query("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode.get::<String, _>(0), "wal");
    assert_eq!(SqliteLogConfig::new("x").synchronous, saga_sql::sqlite::Synchronous::Full);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = Folder::new("newer");
    drop(folder.open().await);
    folder.run("UPDATE saga_schema SET version = 99").await;
    let error = open(&folder.file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(
        error.to_string().contains("has version 99") && error.to_string().contains("newer version"),
        "{error}"
    );
}

#[tokio::test]
async fn a_log_and_a_barrier_do_not_share_a_file() {
    let folder = Folder::new("shared");
    drop(folder.open().await);
    let inbox = SqliteInbox::open(SqliteInboxConfig::new(folder.file()), Arc::new(TokioClock::new())).await;
    let error = inbox.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("a file of its own"), "{error}");
    let other = folder.0.join("books.db");
    let books = SqliteInboxConfig::new(&other);
    drop(SqliteInbox::open(books, Arc::new(TokioClock::new())).await.unwrap());
    assert_eq!(open(&other).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// As the version before wrote it, with a saga in it.
#[tokio::test]
async fn an_older_schema_is_brought_up_to_date() {
    let folder = Folder::new("older");
    let log = folder.open().await;
    assert!(matches!(log.append(vec![at("a", 0)]).await[0], Ok(1)));
    drop(log);
    let older = "DROP TABLE saga_log_audit; ALTER TABLE saga_log_definitions DROP COLUMN outline; \
        UPDATE saga_schema SET version = 1";
    raw_sql(older).execute(&mut folder.connection().await).await.unwrap();
    let log = folder.open().await;
    assert!(matches!(log.append(vec![at("a", 1)]).await[0], Ok(2)));
    assert_eq!(log.outlines().await.unwrap(), []);
    assert_eq!(log.audit(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn only_the_log_wants_a_file_of_its_own() {
    let folder = Folder::new("files");
    let url = format!("sqlite:{}", folder.file().display());
    let inbox = SqliteInbox::connect(&url).await.unwrap();
    SqliteOutbox::on(inbox.pool().clone()).await.unwrap();
    SqliteLeases::connect(&url).await.unwrap();
    let error = SqliteLog::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let other = Folder::new("the-log");
    let _log = other.open().await;
    let url = format!("sqlite:{}", other.file().display());
    for error in
        [SqliteOutbox::connect(&url).await.unwrap_err(), SqliteLeases::connect(&url).await.unwrap_err()]
    {
        assert!(error.to_string().contains("holds a saga log already"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = Folder::new("no-database");
    std::fs::write(folder.file(), vec![b'x'; 8_192]).unwrap();
    let error = open(&folder.file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("log.db"), "{error}");
    let error = open(&folder.0.join("missing/log.db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test]
async fn a_corrupt_entry_makes_its_saga_unreadable_and_no_other() {
    let folder = Folder::new("corrupt");
    let log = folder.open().await;
    let ids = ["broken", "newer", "lost", "odd", "good"];
    for version in 0..2 {
        let batch = ids.iter().map(|id| at(id, version)).collect();
        assert!(log.append(batch).await.iter().all(Result::is_ok));
    }
    let of = |id: &str| format!("saga = (SELECT no FROM saga_log WHERE id = '{id}') AND seq = 1");
    folder.run(&format!("UPDATE saga_log_entries SET entries = '[{{\"at\":' WHERE {}", of("broken"))).await;
    folder.run(&format!("UPDATE saga_log_entries SET format = 99 WHERE {}", of("newer"))).await;
    folder.run(&format!("DELETE FROM saga_log_entries WHERE {}", of("lost"))).await;
    folder.run("UPDATE saga_log SET status = 'asleep' WHERE id = 'odd'").await;
    let records = log.load(&ids.map(key)).await;
    for (nth, said) in [(0, "number 1 on"), (1, "format 99"), (2, "there are 1 entries"), (3, "asleep")] {
        let error = records[nth].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(said) && text.contains(&format!("saga checkout/{}", ids[nth])), "{text}");
    }
    assert!(matches!(&records[4], Ok(Some(Record::Stored(saga))) if saga.version == 2), "{:?}", records[4]);
    assert!(matches!(log.append(vec![at("good", 2)]).await[0], Ok(3)), "the log goes on");
}

#[tokio::test]
async fn a_damaged_row_fails_its_own_append() {
    let folder = Folder::new("damaged");
    let log = folder.open().await;
    let answers = log.append(vec![at("a", 0), at("b", 0)]).await;
    assert!(answers.iter().all(Result::is_ok));
    folder.run("CREATE TRIGGER refuse BEFORE UPDATE ON saga_log WHEN old.id = 'b' BEGIN SELECT raise(ABORT, 'no'); END").await;
    let answers = log.append(vec![at("a", 1), at("b", 1), at("c", 0)]).await;
    assert!(matches!(answers[0], Ok(2)), "{answers:?}");
    assert!(matches!(&answers[1], Err(AppendError::Failed(_))), "{answers:?}");
    assert!(matches!(answers[2], Ok(1)), "{answers:?}");
}

#[tokio::test]
async fn a_file_that_others_hold_fails_appends_until_they_let_go() {
    let folder = Folder::new("held");
    let log = folder.open().await;
    assert!(matches!(log.append(vec![at("a", 0)]).await[0], Ok(1)));
    // Whoever writes finds the file locked for longer than it waits.
    let mut blocking = folder.connection().await;
    raw_sql("BEGIN IMMEDIATE").execute(&mut blocking).await.unwrap();
    match &log.append(vec![at("a", 1)]).await[0] {
        Err(AppendError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
        other => panic!("{other:?}"),
    }
    raw_sql("ROLLBACK").execute(&mut blocking).await.unwrap();
    assert!(matches!(log.append(vec![at("a", 1)]).await[0], Ok(2)), "it goes on");
}

#[tokio::test]
async fn people_can_read_the_tables() {
    let folder = Folder::new("views");
    let log = folder.open().await;
    log.append(vec![at("a", 0), at("a", 1)]).await;
    let mut connection = folder.connection().await;
    let line =
        query("SELECT saga, id, status, entries FROM saga_log_overview").fetch_one(&mut connection).await;
    let line = line.unwrap();
    let texts = (line.get::<String, _>(0), line.get::<String, _>(1), line.get::<String, _>(2));
    assert_eq!(texts, ("checkout".to_owned(), "a".to_owned(), "running".to_owned()));
    let history =
        query("SELECT number, at, fact FROM saga_log_history").fetch_all(&mut connection).await.unwrap();
    let history: Vec<_> = history.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = |n: i64| (n, format!("1970-01-01T00:00:00.00{n}Z"), "succeeded".to_owned());
    assert_eq!(history, [expected(0), expected(1)]);
}
