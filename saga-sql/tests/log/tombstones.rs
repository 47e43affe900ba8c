use std::sync::Arc;

use saga_core::ports::{Append, AppendError, Query, Record, Tombstone};
use saga_core::record::{Cause, Ending, RunId, StepIndex};

use crate::stand::{SECOND, Stand, WINDOW, at, definition, settling, tombstone};

pub(crate) async fn a_settled_saga_leaves_a_tombstone_for_the_window(stand: Stand) {
    stand.append(at("a", 0)).await.unwrap();
    let cause = Cause::Rejected { step: StepIndex(1), reason: Arc::from("sold out") };
    let left = Tombstone { cause: Some(Box::new(cause)), ending: Ending::RolledBack, ..tombstone() };
    let settling = Append { settled: Some(left.clone()), ..settling("a", 1) };
    assert_eq!(stand.append(settling).await.unwrap(), 2);
    stand.advance(WINDOW - 5 * SECOND).await;
    assert_eq!(stand.load("a").await, Some(Record::Tombstone(left)));
    for expected in [0, 2] {
        assert!(matches!(stand.append(at("a", expected)).await, Err(AppendError::Conflict)));
    }
    stand.advance(5 * SECOND).await;
    assert_eq!(stand.load("a").await, None);
    assert_eq!(stand.append(at("a", 0)).await.unwrap(), 1, "the id can be used again");
    stand.append(at("b", 0)).await.unwrap();
    assert_eq!(stand.stored("a").await.version, 1, "taking the old one down leaves the new one");
}

pub(crate) async fn a_saga_can_be_settled_by_its_first_append(stand: Stand) {
    assert_eq!(stand.append(settling("a", 0)).await.unwrap(), 1);
    assert_eq!(stand.load("a").await, Some(Record::Tombstone(tombstone())));
    stand.append(at("b", 0)).await.unwrap();
    let verified = Append { entries: Vec::new(), ..settling("b", 1) };
    assert_eq!(stand.append(verified).await.unwrap(), 1);
    assert_eq!(stand.load("b").await, Some(Record::Tombstone(tombstone())));
    let at_once = vec![at("c", 0), at("c", 1), settling("c", 2), at("c", 3)];
    let answers: Vec<_> = stand.log.append(at_once).await.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some(1), Some(2), Some(3), None]);
    assert_eq!(stand.load("c").await, Some(Record::Tombstone(tombstone())));
}

pub(crate) async fn an_id_can_be_used_again_after_the_window(stand: Stand) {
    let batch = (0..500).map(|n| settling(&n.to_string(), 0)).collect();
    assert!(stand.log.append(batch).await.iter().all(Result::is_ok));
    stand.advance(WINDOW).await;
    for version in 0..10 {
        let again = Append { run: RunId::from_u128(2), ..at("499", version) };
        assert_eq!(stand.append(again).await.unwrap(), version + 1);
    }
    assert_eq!(stand.stored("499").await.version, 10);
}

pub(crate) async fn tombstones_are_pruned(stand: Stand) {
    let epoch = stand.log.lease("me", None, 10 * WINDOW).await.unwrap().epoch;
    let batch = (0..500).map(|n| settling(&n.to_string(), 0)).collect();
    assert!(stand.log.append(batch).await.iter().all(Result::is_ok));
    stand.append(at("live", 0)).await.unwrap();
    let all = Query { limit: 1_000, ..Query::default() };
    assert_eq!(stand.log.list(all.clone()).await.unwrap().len(), 501);
    stand.advance(WINDOW).await;
    assert!(stand.log.wake("me", epoch, &[definition(1)], 9).await.unwrap().is_empty());
    assert_eq!(stand.log.list(all).await.unwrap().len(), 1);
}

/// A start that races with the end of its saga finds the saga or its tombstone, never nothing.
pub(crate) async fn of_a_start_and_an_end_at_once_the_end_holds(stand: Stand) {
    let other = stand.again().await;
    for n in 0..60 {
        let id = format!("saga {n}");
        stand.append(at(&id, 0)).await.unwrap();
        let (log, other) = (Arc::clone(&stand.log), Arc::clone(&other));
        let (end, start) = (settling(&id, 1), Append { run: RunId::from_u128(2), ..at(&id, 0) });
        let end = tokio::spawn(async move { log.append(vec![end]).await.remove(0) });
        let start = tokio::spawn(async move { other.append(vec![start]).await.remove(0) });
        assert!(matches!(end.await.unwrap(), Ok(2)));
        assert!(matches!(start.await.unwrap(), Err(AppendError::Conflict)));
        assert_eq!(stand.load(&id).await, Some(Record::Tombstone(tombstone())));
    }
}
