//! No deadline fires that need not have.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga::memory::LogFaults;
use saga::ports::Clock;
use saga::record::Fact;
use saga::{Status, Timestamp};

use crate::rig::{Rig, come_out, run, saga_of, saga_with_deadline, seconds};

/// The command had never been sent, and its deadline passed while nobody owned the saga. Whoever takes it over sends first.
#[tokio::test(start_paused = true)]
async fn a_take_over_sends_again_before_a_deadline_fires() {
    let (rig, saga) = (Rig::new(), saga_with_deadline(seconds(3)));
    let _participant = rig.participant();
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let dead = rig.coordinator("dead", &[&saga]);
    dead.sagas().start("a", &500).await.unwrap();
    dead.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);

    let other = rig.coordinator("other", &[&saga]);
    let outcome = come_out(other.sagas(), "a").await;
    assert_eq!(outcome.status, Status::Completed, "{:?}", outcome.reason);
}

/// The log says only once that the saga was someone else's, and what was decided on it failed. Found by the simulation.
#[tokio::test(start_paused = true)]
async fn a_take_over_that_could_not_be_recorded_still_sends_before_a_deadline_fires() {
    let (rig, saga) = (Rig::new(), saga_with_deadline(seconds(3)));
    let _participant = rig.participant();
    rig.tap.holds_publishes.store(true, Ordering::Relaxed);
    let dead = rig.coordinator("dead", &[&saga]);
    dead.sagas().start("a", &500).await.unwrap();
    dead.crash().await;
    rig.tap.holds_publishes.store(false, Ordering::Relaxed);

    rig.log.set_faults(LogFaults { fail: 1.0, ..LogFaults::seeded(1) });
    let other = rig.coordinator("other", &[&saga]);
    rig.pass(rig.options.lease_ttl + seconds(5)).await;
    rig.log.set_faults(LogFaults::none());
    let outcome = come_out(other.sagas(), "a").await;
    assert_eq!(outcome.status, Status::Completed, "{:?}", outcome.reason);
}

/// Nobody answers, so the deadline does fire: but not before the slack after the take-over is over.
#[tokio::test(start_paused = true)]
async fn a_deadline_after_a_gap_waits_for_the_slack() {
    let (rig, saga) = (Rig::new(), saga_with_deadline(seconds(3)));
    let dead = rig.coordinator("dead", &[&saga]);
    dead.sagas().start("a", &10).await.unwrap();
    dead.crash().await;
    rig.pass(seconds(60)).await;

    let restarted_at = rig.clock.now();
    let _other = rig.coordinator("other", &[&saga]);
    rig.pass(seconds(10)).await;
    let stored = rig.stored("a").await;
    let fired = stored.entries.iter().find(|entry| matches!(entry.fact, Fact::TimedOut { .. }));
    let waited = fired.expect("nobody answers").at.since(restarted_at);
    let slack = rig.options.deadline_slack;
    assert!(waited >= slack && waited < slack + seconds(1), "{waited:?}");
}

/// The step succeeded in time. That its reply is still on the bus is the coordinator's own delay.
#[tokio::test(start_paused = true)]
async fn no_deadline_fires_while_older_replies_are_unread() {
    let (rig, saga) = (Rig::new(), saga_with_deadline(seconds(5)));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    rig.tap.hold_replies(true);
    coordinator.sagas().start("a", &1_000).await.unwrap();
    rig.pass(seconds(60)).await;
    let facts = rig.facts("a").await;
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::TimedOut { .. })), "{facts:?}");
    rig.tap.hold_replies(false);
    let outcome = come_out(coordinator.sagas(), "a").await;
    assert_eq!(outcome.status, Status::Completed, "{:?}", outcome.reason);
}

/// A clock that is set to another time while it runs.
#[derive(Debug)]
struct SetClock {
    clock: Arc<dyn Clock>,
    ahead_ms: AtomicU64,
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        self.clock.now().after(Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed)))
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

/// The log's clock is a day ahead of everyone else's: what counts is how much of it passes.
#[tokio::test(start_paused = true)]
async fn deadlines_go_by_the_logs_clock_alone() {
    let day_ms = 24 * 3_600_000;
    let rig = Rig::with_log_clock(|clock| Arc::new(SetClock { clock, ahead_ms: AtomicU64::new(day_ms) }));
    let saga = saga_with_deadline(seconds(20));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    let in_time = run(coordinator.sagas(), "a", 15_000).await;
    assert_eq!(in_time.status, Status::Completed, "{:?}", in_time.reason);
    let before = rig.clock.now();
    let late = run(coordinator.sagas(), "b", 25_000).await;
    assert_eq!(late.status, Status::RolledBack);
    assert!(rig.clock.now().since(before) >= seconds(20));
}

/// Somebody sets the log's clock forward while a step is at work: within the coordinator's lease, and far beyond it.
#[tokio::test(start_paused = true)]
async fn a_leap_of_the_logs_clock_fires_nothing_early() {
    leap(6_000).await;
    leap(24 * 3_600_000).await;
}

async fn leap(ahead_ms: u64) {
    let set = Mutex::new(None);
    let rig = Rig::with_log_clock(|clock| {
        let clock = Arc::new(SetClock { clock, ahead_ms: AtomicU64::new(0) });
        *set.lock().unwrap() = Some(Arc::clone(&clock));
        clock
    });
    let set = set.into_inner().unwrap().unwrap();
    let saga = saga_with_deadline(seconds(20));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    let sagas = coordinator.sagas().clone();
    let in_time = tokio::spawn(async move { run(&sagas, "a", 15_000).await });
    let sagas = coordinator.sagas().clone();
    let late = tokio::spawn(async move { run(&sagas, "b", 25_000).await });
    rig.pass(seconds(4)).await;
    set.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    rig.pass(seconds(10)).await;
    let facts = rig.facts("a").await;
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::TimedOut { .. })), "{facts:?}");
    assert_eq!(in_time.await.unwrap().status, Status::Completed);
    // And what is to fire does, neither early nor late. The undo waits until the work is over.
    rig.pass(seconds(6)).await;
    let facts = rig.facts("b").await;
    assert!(facts.iter().any(|fact| matches!(fact, Fact::TimedOut { .. })), "{facts:?}");
    assert_eq!(late.await.unwrap().status, Status::RolledBack);
}

/// A deadline that is due fires on time, or the tests above would prove nothing.
#[tokio::test(start_paused = true)]
async fn a_deadline_fires_on_time() {
    let (rig, saga) = (Rig::new(), saga_with_deadline(seconds(3_600)));
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("a", &10).await.unwrap();
    rig.pass(seconds(3_599)).await;
    assert!(!rig.facts("a").await.iter().any(|fact| matches!(fact, Fact::TimedOut { .. })));
    rig.pass(seconds(2)).await;
    assert!(rig.facts("a").await.iter().any(|fact| matches!(fact, Fact::TimedOut { .. })));
}

/// The saga's own deadline, too.
#[tokio::test(start_paused = true)]
async fn a_saga_deadline_fires_on_time() {
    let (rig, saga) = (
        Rig::new(),
        saga_of(1, |saga| {
            saga.deadline(seconds(100));
        }),
    );
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    let before = rig.clock.now();
    // It takes longer than its participant lets it.
    let outcome = run(coordinator.sagas(), "a", 1_000_000).await;
    assert_eq!(outcome.status, Status::RolledBack);
    assert!(rig.clock.now().since(before) < seconds(100));
}
