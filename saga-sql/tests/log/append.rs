use std::sync::Arc;

use saga_core::ErrorKind;
use saga_core::ports::{Append, AppendError};
use saga_core::record::{Entry, Fact, Payload, RunId, Status, StepIndex, Timestamp};

use crate::stand::{Stand, at, definition, entry, key};

pub(crate) async fn only_the_version_expected_is_appended_to(stand: Stand) {
    assert_eq!(stand.append(at("a", 0)).await.unwrap(), 1);
    for stale in [0, 2] {
        assert!(matches!(stand.append(at("a", stale)).await, Err(AppendError::Conflict)));
    }
    assert!(matches!(stand.append(at("missing", 1)).await, Err(AppendError::Conflict)));
    let two = Append { entries: vec![entry(1), entry(2)], ..at("a", 1) };
    assert_eq!(stand.append(two).await.unwrap(), 3);
    let saga = stand.stored("a").await;
    assert_eq!((saga.version, saga.entries), (3, vec![entry(0), entry(1), entry(2)]));
    assert_eq!(stand.load("missing").await, None);
}

pub(crate) async fn a_batch_is_taken_in_order_and_a_conflict_spoils_nothing_else(stand: Stand) {
    let batch = vec![at("a", 0), at("a", 1), at("b", 5), at("a", 1), at("c", 0), at("a", 2)];
    let answers: Vec<_> = stand.log.append(batch).await.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some(1), Some(2), None, None, Some(1), Some(3)]);
    let records = stand.log.load(&[key("c"), key("b"), key("a"), key("c")]).await;
    let found: Vec<bool> = records.into_iter().map(|record| record.unwrap().is_some()).collect();
    assert_eq!(found, [true, false, true, true]);
    assert_eq!(stand.stored("a").await.entries, [entry(0), entry(1), entry(2)]);
}

pub(crate) async fn an_append_without_entries_verifies_and_files(stand: Stand) {
    stand.append(at("a", 0)).await.unwrap();
    let verify = |expected| Append {
        entries: Vec::new(),
        status: Status::Parked,
        wake_at: Some(Timestamp::from_millis(77)),
        ..at("a", expected)
    };
    assert!(matches!(stand.append(verify(2)).await, Err(AppendError::Conflict)));
    assert_eq!(stand.stored("a").await.status, Status::Running);
    assert_eq!(stand.append(verify(1)).await.unwrap(), 1);
    let saga = stand.stored("a").await;
    assert_eq!((saga.version, saga.status), (1, Status::Parked));
    assert_eq!(saga.wake_at, Some(Timestamp::from_millis(77)));

    let absent = Append { entries: Vec::new(), ..at("b", 0) };
    assert_eq!(stand.append(absent).await.unwrap(), 0);
    assert_eq!(stand.load("b").await, None);
}

pub(crate) async fn another_run_or_definition_is_not_appended_to(stand: Stand) {
    stand.append(at("a", 0)).await.unwrap();
    let other_run = Append { run: RunId::from_u128(2), ..at("a", 1) };
    assert!(matches!(stand.append(other_run).await, Err(AppendError::Conflict)));
    let other_version = Append { definition: definition(2), ..at("a", 1) };
    match stand.append(other_version).await {
        Err(AppendError::Failed(error)) => {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("saga checkout/a is pinned to checkout v1"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stand.stored("a").await.version, 1);
}

pub(crate) async fn the_same_entries_come_back(stand: Stand) {
    let output = |bytes: Vec<u8>| {
        let fact = Fact::Succeeded { step: StepIndex(1), output: Payload::from(bytes) };
        Entry { at: Timestamp::MAX, fact }
    };
    let text = "{\"grüße\": \"\\u0000 '; DROP TABLE saga_log; -- \\\\\"}".as_bytes().to_vec();
    let entries = vec![output(vec![0, 255]), output(text), output(vec![0]), output(vec![b'x'; 1 << 20])];
    stand.append(Append { entries: entries.clone(), ..at("it's \"a\" % saga", 0) }).await.unwrap();
    assert_eq!(stand.stored("it's \"a\" % saga").await.entries, entries);
}

pub(crate) async fn large_batches_are_taken_whole(stand: Stand) {
    let ids: Vec<_> = (0..1_500).map(|n| format!("saga {n}")).collect();
    for version in 0..3 {
        let batch = ids.iter().map(|id| at(id, version)).collect();
        let answers: Vec<_> = stand.log.append(batch).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, vec![version + 1; ids.len()]);
    }
    let keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
    assert!(stand.log.load(&keys).await.into_iter().all(|record| record.unwrap().is_some()));
    assert_eq!(stand.stored("saga 1499").await.entries, [entry(0), entry(1), entry(2)]);
}

const RIVALS: usize = 8;

pub(crate) async fn of_many_who_append_at_once_one_is_first(stand: Stand) {
    stand.append(at("a", 0)).await.unwrap();
    for version in 1..40 {
        assert_eq!(rivals(&stand, version).await, 1, "at version {version}");
    }
    assert_eq!(stand.stored("a").await.version, 40);
}

/// How many of those who append at this version succeed.
async fn rivals(stand: &Stand, version: u64) -> usize {
    let mut tasks = Vec::new();
    for _ in 0..RIVALS {
        let log = Arc::clone(&stand.log);
        tasks.push(tokio::spawn(async move { log.append(vec![at("a", version)]).await.remove(0) }));
    }
    let mut first = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => first += 1,
            Err(AppendError::Conflict) => {}
            Err(other) => panic!("{other}"),
        }
    }
    first
}

pub(crate) async fn of_many_who_start_at_once_one_is_first(stand: Stand) {
    let other = stand.again().await;
    for n in 0..40 {
        let id = format!("saga {n}");
        let mut tasks = Vec::new();
        for rival in 0..RIVALS {
            let log = Arc::clone(if rival % 2 == 0 { &stand.log } else { &other });
            let append = Append { run: RunId::from_u128(rival as u128), ..at(&id, 0) };
            tasks.push(tokio::spawn(async move { (rival, log.append(vec![append]).await.remove(0)) }));
        }
        let mut first = Vec::new();
        for task in tasks {
            let (rival, answer) = task.await.unwrap();
            match answer {
                Ok(version) => first.push((rival as u128, version)),
                Err(AppendError::Conflict) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let [(rival, 1)] = first[..] else { panic!("{first:?}") };
        let saga = stand.stored(&id).await;
        assert_eq!((saga.run, saga.entries), (RunId::from_u128(rival), vec![entry(0)]));
    }
}

/// Two processes append to the same sagas in opposite orders.
pub(crate) async fn batches_that_overlap_never_stand_in_each_others_way(stand: Stand) {
    let other = stand.again().await;
    let ids: Vec<_> = (0..60).map(|n| format!("saga {n}")).collect();
    for version in 0..20 {
        let forward: Vec<_> = ids.iter().map(|id| at(id, version)).collect();
        let backward = forward.iter().rev().cloned().collect();
        let (log, other) = (Arc::clone(&stand.log), Arc::clone(&other));
        let ours = tokio::spawn(async move { log.append(forward).await });
        let theirs = tokio::spawn(async move { other.append(backward).await });
        let (ours, mut theirs) = (ours.await.unwrap(), theirs.await.unwrap());
        theirs.reverse();
        for (nth, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!(
                matches!(
                    (ours, theirs),
                    (Ok(_), Err(AppendError::Conflict)) | (Err(AppendError::Conflict), Ok(_))
                ),
                "saga {nth} at {version}: {ours:?} and {theirs:?}"
            );
        }
    }
}
