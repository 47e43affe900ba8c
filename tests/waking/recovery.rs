//! After a crash sagas go on by themselves.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use saga::{Message, Status, Topic};

use crate::rig::{Rig, come_out, saga_of, seconds};

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
