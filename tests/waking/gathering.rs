//! A reply from which nothing follows waits a little, and is not lost by that.

use std::time::Duration;

use saga::record::Fact;
use saga::{Contract, Saga, Status};

use crate::rig::{Rig, WORK, come_out};

/// The step that is done first.
const FIRST: Contract<u64, u64> = Contract::new("first");

/// One step of 5 ms beside one that takes as long as the input says.
fn saga_of_two() -> Saga<u64> {
    let mut saga = Saga::<u64>::builder("waking", 1);
    saga.step(&FIRST, |_| 5);
    saga.step(&WORK, |ms| *ms);
    saga.build().unwrap()
}

async fn successes(rig: &Rig) -> usize {
    let facts = rig.facts("a").await;
    facts.iter().filter(|fact| matches!(fact, Fact::Succeeded { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn a_reply_from_which_nothing_follows_waits_for_others_but_not_long() {
    let (rig, saga) = (Rig::new(), saga_of_two());
    let _workers = [rig.participant_of(&FIRST), rig.participant()];
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("a", &3_000).await.unwrap();
    rig.pass(Duration::from_millis(20)).await;
    assert_eq!(successes(&rig).await, 0, "its reply is there, and waits");
    rig.pass(Duration::from_millis(50)).await;
    assert_eq!(successes(&rig).await, 1);
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn the_last_reply_takes_the_one_that_waits_along_at_once() {
    let (rig, saga) = (Rig::new(), saga_of_two());
    let _workers = [rig.participant_of(&FIRST), rig.participant()];
    let coordinator = rig.coordinator("one", &[&saga]);
    let begun = rig.clock.now();
    assert!(coordinator.sagas().run("a", &15).await.unwrap().is_completed());
    let took = rig.clock.now().since(begun);
    assert!(took <= Duration::from_millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_waited_when_its_coordinator_died_comes_again() {
    let (rig, saga) = (Rig::new(), saga_of_two());
    let _workers = [rig.participant_of(&FIRST), rig.participant()];
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("a", &3_000).await.unwrap();
    rig.pass(Duration::from_millis(20)).await;
    coordinator.crash().await;
    assert_eq!(successes(&rig).await, 0);
    let coordinator = rig.coordinator("one", &[&saga]);
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::Completed);
    assert_eq!(rig.done.lock().unwrap().len(), 2, "each was done once");
}
