use std::sync::Arc;

use super::*;
use crate::record::Cause;

#[tokio::test(start_paused = true)]
async fn a_settled_saga_leaves_a_tombstone_for_the_window() {
    let log = MemoryLog::builder().idempotency_window(100 * SECOND).build();
    append(&log, at("a", 0)).await.unwrap();
    let cause = Cause::Rejected { step: StepIndex(1), reason: Arc::from("sold out") };
    let left = Tombstone { cause: Some(Box::new(cause)), ending: Ending::RolledBack, ..tombstone() };
    let settling = Append { settled: Some(left.clone()), ..settling("a", 1) };
    assert_eq!(append(&log, settling).await.unwrap(), 2);
    tokio::time::advance(99 * SECOND).await;
    assert_eq!(load(&log, "a").await, Some(Record::Tombstone(left)));
    for expected in [0, 2] {
        assert!(matches!(append(&log, at("a", expected)).await, Err(AppendError::Conflict)));
    }
    tokio::time::advance(SECOND).await;
    assert_eq!(load(&log, "a").await, None);
    assert_eq!(append(&log, at("a", 0)).await.unwrap(), 1, "the id can be used again");
    append(&log, at("b", 0)).await.unwrap();
    assert_eq!(stored(&log, "a").await.version, 1, "taking the old one down leaves the new one");
}

#[tokio::test]
async fn a_saga_can_be_settled_by_its_first_append() {
    let log = MemoryLog::new();
    assert_eq!(append(&log, settling("a", 0)).await.unwrap(), 1);
    assert_eq!(load(&log, "a").await, Some(Record::Tombstone(tombstone())));
    append(&log, at("b", 0)).await.unwrap();
    assert_eq!(append(&log, Append { entries: Vec::new(), ..settling("b", 1) }).await.unwrap(), 1);
    assert_eq!(load(&log, "b").await, Some(Record::Tombstone(tombstone())));
}

#[tokio::test]
async fn the_oldest_goes_first_when_there_are_too_many() {
    let log = MemoryLog::builder().tombstones_max(1_500).build();
    for n in 0..30 {
        let batch = (0..100).map(|m| settling(&(n * 100 + m).to_string(), 0)).collect();
        assert!(log.append(batch).await.iter().all(Result::is_ok));
    }
    let keys: Vec<SagaKey> = (0..3_000).map(|n| key(&n.to_string())).collect();
    let found = log.load(&keys).await.into_iter().map(|record| record.unwrap().is_some());
    assert_eq!(found.collect::<Vec<_>>(), (0..3_000).map(|n| n >= 1_500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_id_can_be_used_again_before_its_old_tombstone_is_taken_down() {
    let log = MemoryLog::builder().idempotency_window(SECOND).build();
    // More than are taken down at a time, so that the last one still stands.
    let batch = (0..5_000).map(|n| settling(&n.to_string(), 0)).collect();
    assert!(log.append(batch).await.iter().all(Result::is_ok));
    tokio::time::advance(SECOND).await;
    for version in 0..10 {
        assert_eq!(append(&log, at("4999", version)).await.unwrap(), version + 1);
    }
    assert_eq!(stored(&log, "4999").await.version, 10);
}
