//! A disk that is full. This program runs itself once more under a limit on how long its files may get; beyond it, writing fails as it does there.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use saga_core::ErrorKind;
use saga_core::memory::TokioClock;
use saga_core::ports::{AppendError, Record, SagaLog};
use saga_sql::sqlite::{SqliteLog, SqliteLogConfig};

use crate::sagas::{at, key};

/// Names the file to the one that is limited.
const FILE: &str = "SAGA_SQL_FULL_DISK";
/// At the limit a signal would come first, which ends the process.
const LIMITED: &str = r#"trap '' XFSZ; ulimit -f 400; exec "$0" "$@""#;

async fn open(file: PathBuf) -> SqliteLog {
    SqliteLog::open(SqliteLogConfig::new(file), Arc::new(TokioClock::new())).await.unwrap()
}

fn id(number: u32) -> String {
    format!("saga-{number}")
}

#[tokio::test]
async fn a_full_disk_fails_appends_and_takes_none_back() {
    if let Ok(file) = std::env::var(FILE) {
        return fill(file.into()).await;
    }
    let folder = std::env::temp_dir().join(format!("saga-sql-full-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("log.db");
    let limited = Command::new("sh")
        .args(["-c", LIMITED])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full::a_full_disk_fails_appends_and_takes_none_back", "--nocapture"])
        .env(FILE, &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{said}{}", String::from_utf8_lossy(&limited.stderr));
    let kept = said.lines().find_map(|line| line.strip_prefix("kept ")?.parse::<u32>().ok());
    let kept = kept.unwrap_or_else(|| panic!("it does not say how many were kept: {said}"));
    assert!(kept > 0);
    // There is room again.
    let log = open(file).await;
    for number in 0..kept {
        let record = log.load(&[key(&id(number))]).await.remove(0);
        assert!(matches!(record, Ok(Some(Record::Stored(_)))), "{} of {kept}: {record:?}", id(number));
    }
    assert!(matches!(log.append(vec![at("one-more", 0)]).await[0], Ok(1)));
    drop(log);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Appends until there is no room, and says how many appends were acknowledged.
async fn fill(file: PathBuf) {
    let log = open(file).await;
    let mut kept = 0;
    let error = loop {
        match log.append(vec![at(&id(kept), 0)]).await.remove(0) {
            Ok(_) => kept += 1,
            Err(AppendError::Failed(error) | AppendError::Unknown(error)) => break error,
            Err(other) => panic!("{} is new: {other}", id(kept)),
        }
        assert!(kept < 100_000, "nothing limits it");
    };
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(matches!(log.load(&[key(&id(0))]).await.remove(0), Ok(Some(_))), "what was kept can be read");
    println!("\nkept {kept}");
}
