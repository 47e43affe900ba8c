use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use saga_core::ErrorKind;
use saga_core::ports::{Append, AppendError, SagaLog, Version, Woken};
use saga_core::record::Timestamp;

use crate::stand::{SECOND, Stand, at, definition, owned, settling, waking};

async fn wake(stand: &Stand, owner: &str, epoch: u64, max: usize) -> Vec<Woken> {
    stand.log.wake(owner, epoch, &[definition(1)], max).await.unwrap()
}

fn ids(woken: &[Woken]) -> Vec<&str> {
    woken.iter().map(|woken| woken.key.id.as_str()).collect()
}

pub(crate) async fn a_lease_is_renewed_until_it_runs_out(stand: Stand) {
    let first = stand.log.lease("a", None, 20 * SECOND).await.unwrap();
    assert_eq!(first.until, first.now.after(20 * SECOND));
    stand.advance(15 * SECOND).await;
    let renewed = stand.log.lease("a", Some(first.epoch), 20 * SECOND).await.unwrap();
    assert_eq!(renewed.epoch, first.epoch);
    assert!(renewed.now >= first.now.after(15 * SECOND) && renewed.until == renewed.now.after(20 * SECOND));
    stand.advance(20 * SECOND).await;
    for error in [
        stand.log.lease("a", Some(first.epoch), SECOND).await.unwrap_err(),
        stand.log.wake("a", first.epoch, &[definition(1)], 9).await.unwrap_err(),
        stand.log.lease("never seen", Some(1), SECOND).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    let next = stand.log.lease("a", None, SECOND).await.unwrap();
    assert!(next.epoch > first.epoch);
}

pub(crate) async fn a_new_lease_ends_the_owners_older_one(stand: Stand) {
    let first = stand.log.lease("a", None, 60 * SECOND).await.unwrap();
    let second = stand.log.lease("a", None, 60 * SECOND).await.unwrap();
    assert!(stand.log.lease("a", Some(first.epoch), 60 * SECOND).await.is_err());
    stand.log.release("a", first.epoch).await.unwrap();
    assert!(
        stand.log.lease("a", Some(second.epoch), 60 * SECOND).await.is_ok(),
        "an old release does not end it"
    );
    stand.log.release("a", second.epoch).await.unwrap();
    assert!(stand.log.lease("a", Some(second.epoch), 60 * SECOND).await.is_err());
}

pub(crate) async fn the_longest_due_wake_first_and_nobody_early(stand: Stand) {
    let now = stand.now().await;
    let epoch = stand.log.lease("a", None, 600 * SECOND).await.unwrap().epoch;
    for (id, after) in [("30s", 30), ("10s", 10), ("20s", 20), ("never", 100)] {
        stand.append(owned(id, now.after(after * SECOND), "a", epoch)).await.unwrap();
    }
    stand.append(at("no time", 0)).await.unwrap();
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), Vec::<&str>::new());
    stand.advance(10 * SECOND).await;
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), ["10s"]);
    stand.advance(20 * SECOND).await;
    let woken = wake(&stand, "a", epoch, 2).await;
    assert_eq!(ids(&woken), ["10s", "20s"], "what was not put off is still due");
    assert!(woken.iter().all(|woken| !woken.taken_over && woken.version == 1));
}

pub(crate) async fn a_saga_is_put_off_brought_forward_and_forgotten(stand: Stand) {
    let start = stand.now().await;
    let epoch = stand.log.lease("a", None, 6_000 * SECOND).await.unwrap().epoch;
    for id in ["later", "sooner", "not any more", "settled"] {
        stand.append(owned(id, start.after(100 * SECOND), "a", epoch)).await.unwrap();
    }
    let again = |id, wake_at| Append { expected: 1, wake_at, ..owned(id, start, "a", epoch) };
    stand.append(again("later", Some(start.after(200 * SECOND)))).await.unwrap();
    stand.append(again("sooner", Some(start.after(50 * SECOND)))).await.unwrap();
    stand.append(again("not any more", None)).await.unwrap();
    stand.append(settling("settled", 1)).await.unwrap();
    stand.advance(50 * SECOND).await;
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), ["sooner"]);
    stand.advance(60 * SECOND).await;
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), ["sooner"]);
    stand.advance(90 * SECOND).await;
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), ["sooner", "later"]);
}

pub(crate) async fn sagas_of_nobody_and_of_ended_leases_are_taken_over(stand: Stand) {
    let start = stand.now().await;
    let lease = async |owner, ttl| stand.log.lease(owner, None, ttl).await.unwrap().epoch;
    let (alive, dying) = (lease("alive", 600 * SECOND).await, lease("dying", 20 * SECOND).await);
    let (leaving, me) = (lease("leaving", 600 * SECOND).await, lease("me", 600 * SECOND).await);
    for append in [
        owned("of the living", start, "alive", alive),
        owned("of the dying", start.after(SECOND), "dying", dying),
        owned("of the leaving", start.after(2 * SECOND), "leaving", leaving),
        owned("of the unknown", start.after(3 * SECOND), "who", 1),
        waking("of nobody", start.after(4 * SECOND)),
        owned("mine", start.after(5 * SECOND), "me", me),
    ] {
        stand.append(append).await.unwrap();
    }
    stand.advance(SECOND).await;
    assert_eq!(ids(&wake(&stand, "me", me, 9).await), Vec::<&str>::new(), "a lease that lives is respected");
    stand.advance(25 * SECOND).await;
    stand.log.release("leaving", leaving).await.unwrap();
    let woken = wake(&stand, "me", me, 9).await;
    assert_eq!(ids(&woken), ["of the dying", "of the leaving", "of the unknown", "of nobody", "mine"]);
    let taken_over: Vec<bool> = woken.iter().map(|woken| woken.taken_over).collect();
    assert_eq!(taken_over, [true, true, true, true, false]);

    let again = wake(&stand, "me", me, 9).await;
    assert_eq!((again.len(), again.iter().any(|woken| woken.taken_over)), (5, false), "they are its own now");
    let other = lease("other", 600 * SECOND).await;
    assert!(wake(&stand, "other", other, 9).await.is_empty());
    stand.advance(50 * SECOND).await;
    stand.log.release("me", me).await.unwrap();
    let next = lease("me", 600 * SECOND).await;
    let woken = wake(&stand, "me", next, 9).await;
    assert!(woken.len() == 5 && woken.iter().all(|woken| woken.taken_over), "an older epoch is someone else");
}

pub(crate) async fn sagas_of_other_definitions_are_left_alone(stand: Stand) {
    let start = stand.now().await;
    stand.append(Append { definition: definition(2), ..waking("two", start) }).await.unwrap();
    stand.append(waking("one", start)).await.unwrap();
    let epoch = stand.log.lease("a", None, 60 * SECOND).await.unwrap().epoch;
    assert_eq!(ids(&wake(&stand, "a", epoch, 9).await), ["one"]);
    assert!(stand.log.wake("a", epoch, &[], 9).await.unwrap().is_empty());
    assert!(stand.log.wake("a", epoch, &[definition(3)], 9).await.unwrap().is_empty());
    let other = stand.log.lease("b", None, 60 * SECOND).await.unwrap().epoch;
    let woken = stand.log.wake("b", other, &[definition(1), definition(2)], 9).await.unwrap();
    assert_eq!(ids(&woken), ["two"]);
    assert!(woken[0].taken_over);
}

/// Many appends bring their sagas forward, put them off or settle them: what wakes is what a plain list says.
pub(crate) async fn the_queue_agrees_with_a_plain_list(stand: Stand) {
    let start = stand.now().await;
    let epoch = stand.log.lease("a", None, 100_000 * SECOND).await.unwrap().epoch;
    let mut seed = 4_u64;
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit
    };
    let mut plain: Vec<(Version, Option<Timestamp>)> = vec![(0, None); 100];
    for turn in 0..30 {
        let mut batch = Vec::new();
        for _ in 0..80 {
            let saga = below(100) as usize;
            let (expected, wake_at) = &mut plain[saga];
            // Hours apart: what time passes by itself in a real database does not matter.
            *wake_at = (below(10) > 0).then(|| start.after(Duration::from_secs(1_800 + 3_600 * below(100))));
            let owner = (below(2) == 0).then(|| ("a".into(), epoch));
            batch.push(Append { wake_at: *wake_at, owner, ..at(&saga.to_string(), *expected) });
            *expected += 1;
        }
        assert!(stand.log.append(batch).await.iter().all(Result::is_ok));
        stand.advance(3_600 * SECOND).await;
        let epoch = stand.log.lease("a", None, 100_000 * SECOND).await.unwrap().epoch;
        let now = start.after(3_600 * SECOND * (turn + 1));
        let mut due: Vec<(Timestamp, String)> = Vec::new();
        for (saga, (_, wake_at)) in plain.iter().enumerate() {
            due.extend(wake_at.filter(|at| *at <= now).map(|at| (at, saga.to_string())));
        }
        due.sort();
        let woken = wake(&stand, "a", epoch, usize::MAX).await;
        let mut found: Vec<(Timestamp, String)> = Vec::new();
        for id in ids(&woken) {
            found.push((plain[id.parse::<usize>().unwrap()].1.unwrap(), id.into()));
        }
        assert!(found.is_sorted_by_key(|(at, _)| *at));
        found.sort();
        assert_eq!(found, due);
    }
}

/// Several coordinators wake at the same time: each saga of the dead one goes to one of them.
pub(crate) async fn a_dead_owners_sagas_are_taken_over_once(stand: Stand) {
    let start = stand.now().await;
    let dead = stand.log.lease("dead", None, 20 * SECOND).await.unwrap().epoch;
    let batch = (0..300).map(|n| owned(&n.to_string(), start, "dead", dead)).collect();
    assert!(stand.log.append(batch).await.iter().all(Result::is_ok));
    stand.advance(21 * SECOND).await;
    let mut tasks = Vec::new();
    for n in 0..4 {
        let log = if n % 2 == 0 { Arc::clone(&stand.log) } else { stand.again().await };
        tasks.push(tokio::spawn(async move { taken_over(&*log, &format!("coordinator {n}")).await }));
    }
    let mut all = HashSet::new();
    for task in tasks {
        for id in task.await.unwrap() {
            assert!(all.insert(id.clone()), "{id} went to two");
        }
    }
    assert_eq!(all.len(), 300);
}

async fn taken_over(log: &dyn SagaLog, owner: &str) -> Vec<String> {
    let epoch = log.lease(owner, None, 600 * SECOND).await.unwrap().epoch;
    let mut ids = Vec::new();
    // They wake in small portions; a portion that others have locked just now may come out empty.
    for _ in 0..60 {
        let woken = log.wake(owner, epoch, &[definition(1)], 40).await.unwrap();
        ids.extend(woken.iter().filter(|woken| woken.taken_over).map(|woken| woken.key.id.to_string()));
        let put_off = woken.into_iter().map(|woken| {
            let owner = Some((owner.into(), epoch));
            Append { key: woken.key, owner, ..at("x", woken.version) }
        });
        assert!(log.append(put_off.collect()).await.iter().all(Result::is_ok));
    }
    ids
}

/// A coordinator sleeps beyond its lease, and its saga goes on elsewhere.
pub(crate) async fn a_paused_owner_does_no_harm(stand: Stand) {
    let start = stand.now().await;
    let paused = stand.log.lease("paused", None, 20 * SECOND).await.unwrap().epoch;
    stand.append(owned("a", start, "paused", paused)).await.unwrap();
    stand.append(owned("b", start, "paused", paused)).await.unwrap();
    stand.advance(21 * SECOND).await;
    let other = stand.log.lease("other", None, 600 * SECOND).await.unwrap().epoch;
    assert_eq!(ids(&wake(&stand, "other", other, 9).await), ["a", "b"]);
    stand.append(Append { expected: 1, ..owned("a", start, "other", other) }).await.unwrap();

    // It wakes up and goes on with what it knew.
    let late = |id| Append { expected: 1, ..owned(id, start, "paused", paused) };
    assert!(matches!(stand.append(late("a")).await, Err(AppendError::Conflict)));
    assert_eq!(stand.append(late("b")).await.unwrap(), 2, "nobody had gone on with it");
    let wake_up = stand.log.wake("paused", paused, &[definition(1)], 9).await.unwrap_err();
    assert_eq!(wake_up.kind(), ErrorKind::Conflict);
    let woken = wake(&stand, "other", other, 9).await;
    assert_eq!(ids(&woken), ["a", "b"]);
    assert_eq!(woken.iter().map(|woken| woken.taken_over).collect::<Vec<_>>(), [false, true]);
}
