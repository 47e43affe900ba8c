//! After a crash sagas go on by themselves.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use saga::record::Fact;
use saga::{Contract, Message, Saga, Status, Topic};

use crate::rig::{Process, Rig, WORK, come_out, saga_of, seconds};

/// Its entries were durable, but nothing had been published: the log itself brings the saga back.
#[tokio::test(start_paused = true)]
async fn a_crash_between_append_and_publish_heals_by_itself() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let _participant = rig.participant();
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("a", &10).await.unwrap();
    rig.pass(seconds(1)).await;
    coordinator.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);

    let coordinator = rig.coordinator("one", &[&saga]);
    let before = rig.clock.now();
    let outcome = come_out(coordinator.sagas(), "a").await;
    assert_eq!(outcome.status, Status::Completed);
    // The first resend interval is 5 s; being told takes up to 2 s more.
    assert!(rig.clock.now().since(before) < seconds(8));
}

/// The trigger comes again, since nobody had acknowledged it. It starts nothing, but what its saga owes is performed at once.
#[tokio::test(start_paused = true)]
async fn a_duplicate_performs_again_what_may_not_have_been_published() {
    let (rig, saga) = (
        Rig::new(),
        saga_of(1, |saga| {
            saga.trigger_default("begin");
        }),
    );
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let coordinator = rig.coordinator("one", &[&saga]);
    rig.pass(seconds(1)).await;
    rig.publish(Message::new(Topic::new("begin").unwrap(), "10").keyed("a")).await;
    rig.pass(seconds(1)).await;
    assert_eq!(rig.stored("a").await.version, 2, "started and dispatched");
    coordinator.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);

    let _coordinator = rig.coordinator("one", &[&saga]);
    rig.pass(seconds(1)).await;
    // Its resend is not due for another three seconds.
    assert_eq!(rig.tap.sent().len(), 1);
    assert_eq!(rig.stored("a").await.version, 2, "nothing new was decided");
}

/// A second step, which nobody answers.
const SILENT: Contract<u64, u64> = Contract::new("silent");

/// A saga whose step of work is answered to a coordinator that has not started it; whoever has is dead, though its lease still holds.
async fn answered_to_another(rig: &Rig, deadline: u64) -> (Process, Process) {
    let mut saga = Saga::<u64>::builder("waking", 1);
    saga.step(&WORK, |ms| *ms);
    let silent = saga.step(&SILENT, |ms| *ms);
    saga.configure(&silent).deadline(seconds(deadline));
    let saga = saga.build().unwrap();
    let participant = rig.participant();
    let dead = rig.coordinator("dead", &[&saga]);
    dead.sagas().start("a", &500).await.unwrap();
    dead.crash().await;
    let other = rig.coordinator("other", &[&saga]);
    rig.pass(seconds(1)).await;
    let facts = rig.facts("a").await;
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Succeeded { .. })), "{facts:?}");
    (participant, other)
}

/// Were it to send at once what the saga owed before, each copy of a command would bring a reply, and each reply more copies.
#[tokio::test(start_paused = true)]
async fn a_reply_to_a_coordinator_that_has_not_its_saga_sends_nothing_again_before_it_is_due() {
    let rig = Rig::new();
    let _running = answered_to_another(&rig, 60).await;
    assert_eq!(rig.tap.sent().len(), 2);
    rig.pass(seconds(3)).await;
    assert_eq!(rig.tap.sent().len(), 2);
    // Five seconds after it was sent.
    rig.pass(seconds(2)).await;
    assert_eq!(rig.tap.sent().len(), 3);
}

/// It is under way here as well as one that was started here.
#[tokio::test(start_paused = true)]
async fn a_saga_that_came_by_a_reply_takes_the_room_of_one() {
    let mut rig = Rig::new();
    rig.options.sagas_in_flight_max = 1;
    let started_at = rig.clock.now();
    let (_participant, other) = answered_to_another(&rig, 60).await;
    let mut next = Box::pin(other.sagas().start("b", &10));
    assert!(tokio::time::timeout(seconds(2), &mut next).await.is_err(), "there is no room");
    let _silent_no_more = rig.participant_of(&SILENT);
    next.await.unwrap();
    assert!(rig.clock.now() >= started_at.after(seconds(3)));
}

/// The one that was given the reply cannot know whether the other command was ever sent.
#[tokio::test(start_paused = true)]
async fn it_sends_again_before_a_deadline_fires() {
    let rig = Rig::new();
    let _running = answered_to_another(&rig, 3).await;
    let timed_out = async || rig.facts("a").await.iter().any(|fact| matches!(fact, Fact::TimedOut { .. }));
    rig.pass(seconds(3)).await;
    assert_eq!(rig.tap.sent().len(), 3);
    assert!(!timed_out().await, "the answer to what was sent again gets the slack");
    rig.pass(seconds(2)).await;
    assert!(timed_out().await);
}

#[tokio::test(start_paused = true)]
async fn a_dead_owners_sagas_are_taken_over_when_its_lease_runs_out_and_not_before() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let dead = rig.coordinator("dead", &[&saga]);
    dead.sagas().start("a", &10).await.unwrap();
    dead.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);

    let crashed_at = rig.clock.now();
    let _other = rig.coordinator("other", &[&saga]);
    rig.pass(rig.options.lease_ttl - seconds(1)).await;
    assert!(rig.tap.sent().is_empty(), "the lease holds: its owner might come back");
    rig.pass(seconds(2)).await;
    let sent = rig.tap.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].0.since(crashed_at) >= rig.options.lease_ttl);
}

#[tokio::test(start_paused = true)]
async fn whoever_shuts_down_leaves_its_sagas_to_others_at_once() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let first = rig.coordinator("first", &[&saga]);
    let _other = rig.coordinator("other", &[&saga]);
    first.sagas().start("a", &10).await.unwrap();
    rig.pass(seconds(1)).await;
    assert_eq!(rig.tap.sent().len(), 1);
    first.stop().await;
    // It is due by then, and the lease would hold for some seconds more.
    rig.pass(seconds(6)).await;
    assert_eq!(rig.tap.sent().len(), 2, "whoever takes it over sends again");
}

/// Forty are due, of which the log names four at a time.
#[tokio::test(start_paused = true)]
async fn many_due_sagas_are_woken_without_a_pause_and_each_once() {
    let (mut rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    rig.options.wake_batch_max = 4;
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let coordinator = rig.coordinator("one", &[&saga]);
    for n in 0..40 {
        coordinator.sagas().start(&n.to_string(), &10).await.unwrap();
    }
    coordinator.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);
    rig.pass(seconds(10)).await;

    let _coordinator = rig.coordinator("one", &[&saga]);
    rig.pass(rig.options.wake_interval * 2).await;
    let sent = rig.tap.sent();
    let ids: HashSet<_> = sent.iter().map(|(_, message)| message.id.clone()).collect();
    assert_eq!((sent.len(), ids.len()), (40, 40));
}
