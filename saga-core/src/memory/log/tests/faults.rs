use super::*;
use crate::ErrorKind;
use crate::memory::LogFaults;

const TRIED: usize = 1_000;

/// Starts sagas under these faults; how many answers were right, conflicts, unknown and failures, and how many sagas are there afterwards.
async fn run(faults: LogFaults) -> ([usize; 4], usize) {
    let log = MemoryLog::builder().faults(faults).build();
    let batch = (0..TRIED).map(|n| at(&n.to_string(), 0)).collect();
    let mut counts = [0; 4];
    for answer in log.append(batch).await {
        let kind = match answer {
            Ok(version) => {
                assert_eq!(version, 1);
                0
            }
            Err(AppendError::Conflict) => 1,
            Err(AppendError::Unknown(_)) => 2,
            Err(AppendError::Failed(error)) => {
                assert_eq!(error.kind(), ErrorKind::Retry);
                3
            }
        };
        counts[kind] += 1;
    }
    (counts, log.census().await.unwrap().iter().map(|line| line.count as usize).sum())
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let none = LogFaults::seeded(3);
    assert_eq!(run(none.clone()).await, ([TRIED, 0, 0, 0], TRIED));
    let (counts, there) = run(LogFaults { conflict: 0.2, ..none.clone() }).await;
    assert!((150..250).contains(&counts[1]), "{counts:?}");
    assert_eq!((counts[0], there), (TRIED - counts[1], counts[0]));
    let (counts, there) = run(LogFaults { fail: 0.2, ..none.clone() }).await;
    assert!((150..250).contains(&counts[3]), "{counts:?}");
    assert_eq!((counts[0], there), (TRIED - counts[3], counts[0]));
    let (counts, there) = run(LogFaults { unknown: 0.2, ..none }).await;
    assert!((150..250).contains(&counts[2]), "{counts:?}");
    assert_eq!(counts[0], TRIED - counts[2]);
    assert!(
        (counts[0] + 50..TRIED - 50).contains(&there),
        "about half of {} took effect: {there}",
        counts[2]
    );
}

#[tokio::test]
async fn the_same_seed_makes_the_same_faults() {
    let all = |seed| LogFaults { unknown: 0.1, fail: 0.1, conflict: 0.1, ..LogFaults::seeded(seed) };
    assert_eq!(run(all(1)).await, run(all(1)).await);
    assert_ne!(run(all(1)).await, run(all(2)).await);
}

#[tokio::test]
async fn the_log_can_be_away_and_come_back() {
    let log = MemoryLog::new();
    append(&log, at("a", 0)).await.unwrap();
    log.set_faults(LogFaults { away: 1.0, ..LogFaults::seeded(1) });
    assert!(append(&log, at("a", 1)).await.is_ok(), "appending has faults of its own");
    let errors = [
        log.load(&[key("a")]).await.remove(0).err(),
        log.lease("a", None, SECOND).await.err(),
        log.census().await.err(),
    ];
    assert_eq!(errors.map(|error| error.map(|error| error.kind())), [Some(ErrorKind::Retry); 3]);
    log.set_faults(LogFaults::none());
    assert_eq!(stored(&log, "a").await.version, 2);
}
