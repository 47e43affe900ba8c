use super::*;
use crate::ErrorKind;
use crate::ports::Woken;

async fn wake(log: &MemoryLog, owner: &str, epoch: u64, max: usize) -> Vec<Woken> {
    log.wake(owner, epoch, &[definition(1)], max).await.unwrap()
}

fn ids(woken: &[Woken]) -> Vec<&str> {
    woken.iter().map(|woken| woken.key.id.as_str()).collect()
}

fn owned(id: &str, wake_at: Timestamp, owner: &str, epoch: u64) -> Append {
    Append { owner: Some((owner.into(), epoch)), ..waking(id, wake_at) }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_until_it_runs_out() {
    let log = MemoryLog::new();
    let first = log.lease("a", None, 10 * SECOND).await.unwrap();
    assert_eq!(first.until, first.now.after(10 * SECOND));
    tokio::time::advance(9 * SECOND).await;
    let renewed = log.lease("a", Some(first.epoch), 10 * SECOND).await.unwrap();
    assert_eq!((renewed.epoch, renewed.now), (first.epoch, first.now.after(9 * SECOND)));
    tokio::time::advance(10 * SECOND).await;
    for error in [
        log.lease("a", Some(first.epoch), SECOND).await.unwrap_err(),
        log.wake("a", first.epoch, &[definition(1)], 9).await.unwrap_err(),
        log.lease("never seen", Some(1), SECOND).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    let next = log.lease("a", None, SECOND).await.unwrap();
    assert!(next.epoch > first.epoch);
}

#[tokio::test]
async fn a_new_lease_ends_the_owners_older_one() {
    let log = MemoryLog::new();
    let first = log.lease("a", None, SECOND).await.unwrap();
    let second = log.lease("a", None, SECOND).await.unwrap();
    assert!(log.lease("a", Some(first.epoch), SECOND).await.is_err());
    log.release("a", first.epoch).await.unwrap();
    assert!(log.lease("a", Some(second.epoch), SECOND).await.is_ok(), "an old release does not end it");
}

#[tokio::test(start_paused = true)]
async fn the_longest_due_wake_first_and_nobody_early() {
    let log = MemoryLog::new();
    let now = now(&log).await;
    let epoch = log.lease("a", None, 60 * SECOND).await.unwrap().epoch;
    for (id, after) in [("3s", 3), ("1s", 1), ("2s", 2), ("never", 100)] {
        append(&log, owned(id, now.after(after * SECOND), "a", epoch)).await.unwrap();
    }
    append(&log, at("no time", 0)).await.unwrap();
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), Vec::<&str>::new());
    tokio::time::advance(SECOND).await;
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), ["1s"]);
    tokio::time::advance(2 * SECOND).await;
    let woken = wake(&log, "a", epoch, 2).await;
    assert_eq!(ids(&woken), ["1s", "2s"], "what was not put off is still due");
    assert!(woken.iter().all(|woken| !woken.taken_over && woken.version == 1));
}

#[tokio::test(start_paused = true)]
async fn a_saga_is_put_off_brought_forward_and_forgotten() {
    let log = MemoryLog::new();
    let start = now(&log).await;
    let epoch = log.lease("a", None, 600 * SECOND).await.unwrap().epoch;
    for id in ["later", "sooner", "not any more", "settled"] {
        append(&log, owned(id, start.after(10 * SECOND), "a", epoch)).await.unwrap();
    }
    let again = |id, wake_at| Append { expected: 1, wake_at, ..owned(id, start, "a", epoch) };
    append(&log, again("later", Some(start.after(20 * SECOND)))).await.unwrap();
    append(&log, again("sooner", Some(start.after(5 * SECOND)))).await.unwrap();
    append(&log, again("not any more", None)).await.unwrap();
    append(&log, settling("settled", 1)).await.unwrap();
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), ["sooner"]);
    tokio::time::advance(6 * SECOND).await;
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), ["sooner"]);
    tokio::time::advance(9 * SECOND).await;
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), ["sooner", "later"]);
}

#[tokio::test(start_paused = true)]
async fn sagas_of_nobody_and_of_ended_leases_are_taken_over() {
    let log = MemoryLog::new();
    let start = now(&log).await;
    let lease = async |owner, ttl| log.lease(owner, None, ttl).await.unwrap().epoch;
    let (alive, dying) = (lease("alive", 60 * SECOND).await, lease("dying", 2 * SECOND).await);
    let (leaving, me) = (lease("leaving", 60 * SECOND).await, lease("me", 60 * SECOND).await);
    for append in [
        owned("of the living", start, "alive", alive),
        owned("of the dying", start.after(SECOND), "dying", dying),
        owned("of the leaving", start.after(2 * SECOND), "leaving", leaving),
        owned("of the unknown", start.after(3 * SECOND), "who", 1),
        waking("of nobody", start.after(4 * SECOND)),
        owned("mine", start.after(5 * SECOND), "me", me),
    ] {
        log.append(vec![append]).await.remove(0).unwrap();
    }
    tokio::time::advance(SECOND).await;
    assert_eq!(ids(&wake(&log, "me", me, 9).await), Vec::<&str>::new(), "a lease that lives is respected");
    tokio::time::advance(4 * SECOND).await;
    log.release("leaving", leaving).await.unwrap();
    let woken = wake(&log, "me", me, 9).await;
    assert_eq!(ids(&woken), ["of the dying", "of the leaving", "of the unknown", "of nobody", "mine"]);
    let taken_over: Vec<bool> = woken.iter().map(|woken| woken.taken_over).collect();
    assert_eq!(taken_over, [true, true, true, true, false]);

    let again = wake(&log, "me", me, 9).await;
    assert_eq!((again.len(), again.iter().any(|woken| woken.taken_over)), (5, false), "they are its own now");
    let other = lease("other", 60 * SECOND).await;
    assert!(wake(&log, "other", other, 9).await.is_empty());
    tokio::time::advance(50 * SECOND).await;
    log.release("me", me).await.unwrap();
    let next = lease("me", 60 * SECOND).await;
    let woken = wake(&log, "me", next, 9).await;
    assert!(woken.len() == 5 && woken.iter().all(|woken| woken.taken_over), "an older epoch is someone else");
}

#[tokio::test]
async fn sagas_of_other_definitions_are_left_alone() {
    let log = MemoryLog::new();
    let start = now(&log).await;
    append(&log, Append { definition: definition(2), ..waking("two", start) }).await.unwrap();
    append(&log, waking("one", start)).await.unwrap();
    let epoch = log.lease("a", None, 60 * SECOND).await.unwrap().epoch;
    assert_eq!(ids(&wake(&log, "a", epoch, 9).await), ["one"]);
    assert!(log.wake("a", epoch, &[], 9).await.unwrap().is_empty());
    let other = log.lease("b", None, 60 * SECOND).await.unwrap().epoch;
    let woken = log.wake("b", other, &[definition(1), definition(2)], 9).await.unwrap();
    assert_eq!(ids(&woken), ["two"]);
    assert!(woken[0].taken_over);
}

/// Many appends bring their sagas forward, put them off or settle them: what wakes is what a plain list says.
#[tokio::test(start_paused = true)]
async fn the_queue_agrees_with_a_plain_list() {
    let log = MemoryLog::new();
    let start = now(&log).await;
    let epoch = log.lease("a", None, 100_000 * SECOND).await.unwrap().epoch;
    let mut random = crate::random::SplitMix64::new(4);
    let mut plain: Vec<(Version, Option<Timestamp>)> = vec![(0, None); 300];
    for turn in 0..100 {
        let mut batch = Vec::new();
        for _ in 0..200 {
            let saga = random.below(300) as usize;
            let (expected, wake_at) = &mut plain[saga];
            *wake_at = random.chance(0.9).then(|| start.after(Duration::from_millis(random.below(2_000))));
            let owner = random.chance(0.5).then(|| ("a".into(), epoch));
            batch.push(Append { wake_at: *wake_at, owner, ..at(&saga.to_string(), *expected) });
            *expected += 1;
        }
        assert!(log.append(batch).await.iter().all(Result::is_ok));
        tokio::time::advance(Duration::from_millis(20)).await;
        let now = start.after(Duration::from_millis(20 * (turn + 1)));
        let mut due: Vec<(Timestamp, String)> = Vec::new();
        for (saga, (_, wake_at)) in plain.iter().enumerate() {
            due.extend(wake_at.filter(|at| *at <= now).map(|at| (at, saga.to_string())));
        }
        due.sort();
        let woken = wake(&log, "a", epoch, usize::MAX).await;
        let mut found: Vec<(Timestamp, String)> = Vec::new();
        for id in ids(&woken) {
            found.push((plain[id.parse::<usize>().unwrap()].1.unwrap(), id.into()));
        }
        assert!(found.is_sorted_by_key(|(at, _)| *at));
        found.sort();
        assert_eq!(found, due);
    }
}
