//! Several coordinators on one log, of several versions; and sagas that cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, Summary, Version, Woken,
};
use saga::record::{DefinitionRef, Fact, Outline, SagaKey};
use saga::{Error, ErrorKind, Status};

use crate::rig::{Rig, come_out, run, saga_of, seconds};

/// Another coordinator has begun a new round; its reply comes to one that remembers the round before. There it means nothing, so it
/// is looked up before it is settled.
#[tokio::test(start_paused = true)]
async fn a_decision_that_appends_nothing_is_made_on_what_the_log_has() {
    let (rig, saga) = (
        Rig::new(),
        saga_of(1, |saga| {
            saga.deadline(seconds(1));
        }),
    );
    let _participant = rig.participant();
    let stale = rig.coordinator("stale", &[&saga]);
    // Odd: the first round of its undo fails.
    let parked = run(stale.sagas(), "a", 2_001).await;
    assert_eq!(parked.status, Status::Parked, "{:?}", parked.reason);

    rig.tap.hold_replies(true);
    let other = rig.coordinator("other", &[&saga]);
    other.sagas().retry("a", None, "ops", "mended").await.unwrap();
    rig.pass(Duration::from_millis(500)).await;
    other.crash().await;
    let before = rig.clock.now();
    rig.tap.hold_replies(false);
    rig.pass(seconds(1)).await;
    // Were it settled unseen, the saga would wait for the lease of the other one to run out, and then be asked again.
    let outcome = come_out(stale.sagas(), "a").await;
    assert_eq!(outcome.status, Status::RolledBack);
    assert_eq!(rig.clock.now().since(before), seconds(1));
}

/// A reply for a version that is not here is kept in the log, and taken by whoever has it.
#[tokio::test(start_paused = true)]
async fn a_reply_for_a_version_not_registered_is_held() {
    let (rig, old, new) = (Rig::new(), saga_of(1, |_| {}), saga_of(2, |_| {}));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("old", &[&old]);
    coordinator.sagas().start("a", &3_000).await.unwrap();
    rig.pass(seconds(1)).await;
    coordinator.crash().await;

    let coordinator = rig.coordinator("new", &[&new]);
    rig.pass(seconds(60)).await;
    let stored = rig.stored("a").await;
    assert_eq!(stored.status, Status::Running);
    assert!(matches!(stored.entries.last().unwrap().fact, Fact::Held { .. }), "{stored:?}");
    assert_eq!(rig.dead_letters("waking.replies"), 0);
    assert_eq!(run(coordinator.sagas(), "b", 10).await.status, Status::Completed, "others go on");
    coordinator.crash().await;

    let both = rig.coordinator("both", &[&old, &new]);
    assert_eq!(come_out(both.sagas(), "a").await.status, Status::Completed);
    assert_eq!(rig.done.lock().unwrap().len(), 2, "nothing was done twice for it");
}

/// A log in which one saga's record has been damaged.
#[derive(Debug)]
struct DamagedLog {
    inner: Arc<dyn SagaLog>,
    damage: Damage,
    loads: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Its entries can be read, and make no sense.
    Senseless,
    /// The log cannot read them.
    Unreadable,
}

#[async_trait]
impl SagaLog for DamagedLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        self.inner.append(batch).await
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        let mut records = self.inner.load(keys).await;
        for (key, record) in keys.iter().zip(&mut records) {
            if key.id.as_str() == "damaged" {
                self.loads.fetch_add(1, Ordering::Relaxed);
                match (self.damage, &mut *record) {
                    (Damage::Senseless, Ok(Some(Record::Stored(stored)))) => stored.entries.reverse(),
                    _ => *record = Err(Error::new(ErrorKind::Corrupt, "a checksum does not match")),
                }
            }
        }
        records
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.inner.lease(owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.inner.release(owner, epoch).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        self.inner.wake(owner, epoch, definitions, max).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.inner.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.inner.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.inner.describe(outlines).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.inner.outlines().await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.inner.audit(key, limit).await
    }
}

/// Two sagas at work, a crash, and one of them damaged: the other completes. Returns how often the damaged one was read in ten minutes.
async fn with_damage(rig: &mut Rig, damage: Damage) -> u32 {
    let saga = saga_of(1, |_| {});
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("damaged", &3_000).await.unwrap();
    coordinator.sagas().start("sound", &3_000).await.unwrap();
    rig.pass(seconds(1)).await;
    coordinator.crash().await;

    let damaged = Arc::new(DamagedLog { inner: Arc::new(rig.log.clone()), damage, loads: AtomicU32::new(0) });
    rig.log_seen = Arc::clone(&damaged) as Arc<dyn SagaLog>;
    let coordinator = rig.coordinator("one", &[&saga]);
    assert_eq!(come_out(coordinator.sagas(), "sound").await.status, Status::Completed);
    rig.pass(seconds(600)).await;
    damaged.loads.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_makes_no_sense_parks_its_saga_and_no_other() {
    let mut rig = Rig::new();
    let loads = with_damage(&mut rig, Damage::Senseless).await;
    let stored = rig.stored("damaged").await;
    assert_eq!(stored.status, Status::Parked);
    assert!(
        matches!(&stored.entries.last().unwrap().fact, Fact::Parked { reason } if reason.contains("corrupt"))
    );
    assert!(loads <= 3, "it was read {loads} times");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_stops_nobody() {
    let mut rig = Rig::new();
    let loads = with_damage(&mut rig, Damage::Unreadable).await;
    assert_eq!(rig.dead_letters("waking.replies"), 1, "its reply is evidence");
    assert!((2..=20).contains(&loads), "it was read {loads} times: at its reply, and now and then");
}

/// A reply comes to another coordinator, which goes on with the saga; the one where it was started, and is waited for, is told by nobody.
#[tokio::test(start_paused = true)]
async fn whoever_waits_where_another_has_gone_on_with_the_saga_does_not_wait_long() {
    let (mut rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let _participant = rig.participant();
    rig.tap.hold_replies(true);
    let here = rig.coordinator("here", &[&saga]);
    rig.renew_tap();
    let _there = rig.coordinator("there", &[&saga]);
    for ms in [20, 200, 2_000, 20_000] {
        let in_time = |begun, what| {
            let took = rig.clock.now().since(begun);
            let late = ms.clamp(60, 2_000);
            assert!(took <= Duration::from_millis(ms + late), "{what} with {ms} ms of work: {took:?}");
        };
        let begun = rig.clock.now();
        assert_eq!(run(here.sagas(), &format!("started-{ms}"), ms).await.status, Status::Completed);
        in_time(begun, "started, and its outcome asked for");
        let begun = rig.clock.now();
        assert!(here.sagas().run(&format!("run-{ms}"), &ms).await.unwrap().is_completed());
        in_time(begun, "run");
    }
}
