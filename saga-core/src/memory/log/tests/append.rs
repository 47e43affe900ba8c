use super::*;
use crate::ErrorKind;

#[tokio::test]
async fn only_the_version_expected_is_appended_to() {
    let log = MemoryLog::new();
    assert_eq!(append(&log, at("a", 0)).await.unwrap(), 1);
    for stale in [0, 2] {
        assert!(matches!(append(&log, at("a", stale)).await, Err(AppendError::Conflict)));
    }
    assert!(matches!(append(&log, at("missing", 1)).await, Err(AppendError::Conflict)));
    let two = Append { entries: vec![entry(1), entry(2)], ..at("a", 1) };
    assert_eq!(append(&log, two).await.unwrap(), 3);
    let saga = stored(&log, "a").await;
    assert_eq!((saga.version, saga.entries), (3, vec![entry(0), entry(1), entry(2)]));
    assert_eq!(load(&log, "missing").await, None);
}

#[tokio::test]
async fn a_batch_is_taken_in_order_and_a_conflict_spoils_nothing_else() {
    let log = MemoryLog::new();
    let batch = vec![at("a", 0), at("a", 1), at("b", 5), at("a", 1), at("c", 0), at("a", 2)];
    let answers: Vec<_> = log.append(batch).await.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some(1), Some(2), None, None, Some(1), Some(3)]);
    let records = log.load(&[key("c"), key("b"), key("a")]).await;
    let found: Vec<bool> = records.into_iter().map(|record| record.unwrap().is_some()).collect();
    assert_eq!(found, [true, false, true]);
}

#[tokio::test]
async fn an_append_without_entries_verifies_and_files() {
    let log = MemoryLog::new();
    append(&log, at("a", 0)).await.unwrap();
    let verify = |expected| Append {
        entries: Vec::new(),
        status: Status::Parked,
        wake_at: Some(Timestamp::from_millis(77)),
        ..at("a", expected)
    };
    assert!(matches!(append(&log, verify(2)).await, Err(AppendError::Conflict)));
    assert_eq!(stored(&log, "a").await.status, Status::Running);
    assert_eq!(append(&log, verify(1)).await.unwrap(), 1);
    let saga = stored(&log, "a").await;
    assert_eq!((saga.version, saga.status), (1, Status::Parked));
    assert_eq!(saga.wake_at, Some(Timestamp::from_millis(77)));

    let absent = Append { entries: Vec::new(), ..at("b", 0) };
    assert_eq!(append(&log, absent).await.unwrap(), 0);
    assert_eq!(load(&log, "b").await, None);
}

#[tokio::test]
async fn another_run_or_definition_is_not_appended_to() {
    let log = MemoryLog::new();
    append(&log, at("a", 0)).await.unwrap();
    let other_run = Append { run: RunId::from_u128(2), ..at("a", 1) };
    assert!(matches!(append(&log, other_run).await, Err(AppendError::Conflict)));
    let other_version = Append { definition: definition(2), ..at("a", 1) };
    match append(&log, other_version).await {
        Err(AppendError::Failed(error)) => {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("saga checkout/a is pinned to checkout v1"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(&log, "a").await.version, 1);
}

#[tokio::test]
async fn a_clone_is_the_same_log() {
    let log = MemoryLog::new();
    let again = log.clone();
    append(&log, at("a", 0)).await.unwrap();
    drop(log);
    assert_eq!(append(&again, at("a", 1)).await.unwrap(), 2);
}

#[tokio::test]
async fn strict_storage_brings_the_same_entries_back() {
    let log = MemoryLog::builder().strict_storage(true).build();
    let fact = Fact::Succeeded { step: StepIndex(1), output: Payload::from(vec![0, 255]) };
    let entries = vec![Entry { at: Timestamp::MAX, fact }];
    append(&log, Append { entries: entries.clone(), ..at("a", 0) }).await.unwrap();
    assert_eq!(stored(&log, "a").await.entries, entries);
}
