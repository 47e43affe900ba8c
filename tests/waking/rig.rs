//! What the tests of this folder run: coordinators and a participant over one bus, log and inbox, with a tap on what coordinators do.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use saga::memory::{MemoryBus, MemoryInbox, MemoryLog, TokioClock};
use saga::ports::{
    Capabilities, Clock, Declaration, Delivery, Health, Inbox, Lag, Published, Record, SagaLog, Settled,
    Settlement, StoredSaga, Subscription, SubscriptionSpec,
};
use saga::record::{Fact, RunId, SagaKey};
use saga::{
    Contract, CoordinatorOptions, Error, EventBus, FailurePolicy, Message, Outcome, Retry, Saga, SagaBuilder,
    Sagas, Service, StepError, Timestamp, Topic, handler,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// The step of these sagas: it takes this many milliseconds. What is odd cannot be undone.
pub(crate) const WORK: Contract<u64, u64> = Contract::new("work");

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A saga of one step of work, which takes as long as the input says.
pub(crate) fn saga_of(version: u32, more: impl FnOnce(&mut SagaBuilder<u64>)) -> Saga<u64> {
    let mut saga = Saga::<u64>::builder("waking", version);
    let work = saga.step(&WORK, |ms| *ms);
    saga.configure(&work).retry(Retry::DEFAULT.attempts(2));
    saga.on_first_failure(FailurePolicy::FailFast);
    more(&mut saga);
    saga.build().unwrap()
}

/// The same, with a deadline for the work.
pub(crate) fn saga_with_deadline(deadline: Duration) -> Saga<u64> {
    let mut saga = Saga::<u64>::builder("waking", 1);
    let work = saga.step(&WORK, |ms| *ms);
    saga.configure(&work).deadline(deadline);
    saga.on_first_failure(FailurePolicy::FailFast);
    saga.build().unwrap()
}

/// Starts a saga and waits until it has come out.
pub(crate) async fn run(sagas: &Sagas<u64>, id: &str, ms: u64) -> Outcome {
    let started = tokio::time::timeout(seconds(3_600), sagas.start(id, &ms)).await;
    started.unwrap_or_else(|_| panic!("saga {id} was not let in within an hour")).unwrap();
    come_out(sagas, id).await
}

/// Waits until a saga has come out, but not for ever.
pub(crate) async fn come_out(sagas: &Sagas<u64>, id: &str) -> Outcome {
    let outcome = tokio::time::timeout(seconds(3_600), sagas.outcome(id)).await;
    outcome.unwrap_or_else(|_| panic!("saga {id} has not come out within an hour")).unwrap()
}

pub(crate) struct Rig {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bus: MemoryBus,
    pub(crate) log: MemoryLog,
    /// The log as coordinators see it, where that is not the log itself.
    pub(crate) log_seen: Arc<dyn SagaLog>,
    pub(crate) options: CoordinatorOptions,
    pub(crate) tap: Arc<Tap>,
    pub(crate) done: Arc<Mutex<Vec<RunId>>>,
    inbox: Arc<dyn Inbox>,
}

/// A process: dropping it is a crash.
pub(crate) struct Process {
    pub(crate) sagas: Option<Sagas<u64>>,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Error>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_log_clock(|clock| clock)
    }

    /// With a log that goes by another clock than everyone else.
    pub(crate) fn with_log_clock(of_log: impl FnOnce(Arc<dyn Clock>) -> Arc<dyn Clock>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp::from_millis(1_000_000)));
        let log_clock = of_log(Arc::clone(&clock));
        let log = MemoryLog::builder().clock(log_clock).idempotency_window(seconds(600)).build();
        Self {
            bus: MemoryBus::builder().clock(Arc::clone(&clock)).build(),
            log_seen: Arc::new(log.clone()),
            log,
            options: CoordinatorOptions::default(),
            tap: Arc::new(Tap::new(Arc::clone(&clock))),
            done: Arc::default(),
            inbox: Arc::new(MemoryInbox::new(Arc::clone(&clock))),
            clock,
        }
    }

    pub(crate) fn coordinator(&self, name: &str, sagas: &[&Saga<u64>]) -> Process {
        let mut options = self.options.clone();
        options.name = name.into();
        let bus = TapBus { inner: self.bus.connect(), tap: Arc::clone(&self.tap) };
        let mut service = Service::builder(Arc::new(bus))
            .log(Arc::clone(&self.log_seen))
            .clock(Arc::clone(&self.clock))
            .coordinator_options(options);
        for saga in sagas {
            service = service.coordinate(saga);
        }
        let service = service.build().unwrap();
        let sagas = service.sagas(sagas[0]).unwrap();
        let (shutdown, told) = oneshot::channel();
        let task = tokio::spawn(service.run(async { told.await.unwrap_or(()) }));
        Process { task, shutdown: Some(shutdown), sagas: Some(sagas) }
    }

    /// Does the work, and writes down for which run.
    pub(crate) fn participant(&self) -> Process {
        self.participant_of(&WORK)
    }

    /// The same for another step.
    pub(crate) fn participant_of(&self, step: &Contract<u64, u64>) -> Process {
        let done = Arc::clone(&self.done);
        let work = handler(move |ms: u64, ctx| {
            let done = Arc::clone(&done);
            async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                done.lock().unwrap().push(ctx.run);
                Ok(ms)
            }
        });
        let work = work.undo(|undo, ctx| async move {
            match undo.input % 2 {
                1 if ctx.round == 1 => Err(StepError::retry("it is stuck")),
                _ => Ok(()),
            }
        });
        let service = Service::builder(Arc::new(self.bus.connect()))
            .inbox(Arc::clone(&self.inbox))
            .clock(Arc::clone(&self.clock))
            .serve(step, work);
        let service = service.build().unwrap();
        Process { task: tokio::spawn(service.run(pending())), shutdown: None, sagas: None }
    }

    /// Whoever comes from now on has a tap of its own.
    pub(crate) fn renew_tap(&mut self) {
        self.tap = Arc::new(Tap::new(Arc::clone(&self.clock)));
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// What the log has of a saga, which must be more than a tombstone.
    pub(crate) async fn stored(&self, id: &str) -> StoredSaga {
        let key = SagaKey { saga: "waking".into(), id: id.parse().unwrap() };
        match self.log.load(&[key]).await.pop().unwrap().unwrap() {
            Some(Record::Stored(stored)) => stored,
            other => panic!("{id}: {other:?}"),
        }
    }

    pub(crate) async fn facts(&self, id: &str) -> Vec<Fact> {
        self.stored(id).await.entries.into_iter().map(|entry| entry.fact).collect()
    }

    /// How many sagas are more than a tombstone.
    pub(crate) async fn under_way(&self) -> u64 {
        self.log.census().await.unwrap().iter().map(|line| line.count).sum()
    }

    pub(crate) async fn publish(&self, message: Message) {
        assert!(matches!(self.bus.publish(vec![message]).await[..], [Published::Acked]));
    }

    pub(crate) fn dead_letters(&self, topic: &str) -> usize {
        self.bus.dead_letters_of(&Topic::new(topic).unwrap()).len()
    }
}

impl Process {
    pub(crate) fn sagas(&self) -> &Sagas<u64> {
        self.sagas.as_ref().expect("a coordinator")
    }

    /// Shuts it down as it should be.
    pub(crate) async fn stop(mut self) {
        self.shutdown.take().expect("a coordinator").send(()).unwrap();
        (&mut self.task).await.unwrap().unwrap();
    }

    pub(crate) async fn crash(mut self) {
        self.task.abort();
        let _cancelled = (&mut self.task).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A tap on what coordinators send and read.
#[derive(Debug)]
pub(crate) struct Tap {
    clock: Arc<dyn Clock>,
    /// They come as far as publishing, and no further.
    pub(crate) holds_publishes: AtomicBool,
    holds_replies: watch::Sender<bool>,
    sent: Mutex<Vec<(Timestamp, Message)>>,
}

impl Tap {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            holds_publishes: AtomicBool::new(false),
            holds_replies: watch::Sender::new(false),
            sent: Mutex::default(),
        }
    }

    /// Replies stay on the bus, where their age can be seen, until this is lifted.
    pub(crate) fn hold_replies(&self, hold: bool) {
        self.holds_replies.send_replace(hold);
    }

    /// What coordinators have published, and when.
    pub(crate) fn sent(&self) -> Vec<(Timestamp, Message)> {
        self.sent.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct TapBus {
    inner: MemoryBus,
    tap: Arc<Tap>,
}

#[async_trait]
impl EventBus for TapBus {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        self.inner.declare(declarations).await
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        if self.tap.holds_publishes.load(Ordering::Relaxed) {
            return pending().await;
        }
        let now = self.tap.clock.now();
        self.tap.sent.lock().unwrap().extend(batch.iter().map(|message| (now, message.clone())));
        self.inner.publish(batch).await
    }

    async fn publish_atomic(&self, batch: Vec<Message>) -> Published {
        self.inner.publish_atomic(batch).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        let is_replies = spec.topic.as_str().ends_with(".replies");
        let inner = self.inner.subscribe(spec).await?;
        if !is_replies {
            return Ok(inner);
        }
        Ok(Arc::new(TapSubscription { inner, holds: self.tap.holds_replies.subscribe() }))
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.inner.close(deadline).await
    }
}

async fn until(holds: &mut watch::Receiver<bool>, wanted: bool) {
    holds.wait_for(|holds| *holds == wanted).await.expect("the tap outlives its subscriptions");
}

#[derive(Debug)]
struct TapSubscription {
    inner: Arc<dyn Subscription>,
    holds: watch::Receiver<bool>,
}

#[async_trait]
impl Subscription for TapSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        let mut holds = self.holds.clone();
        loop {
            until(&mut holds, false).await;
            tokio::select! {
                biased;
                () = until(&mut holds, true) => {}
                read = self.inner.next(max) => return read,
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        self.inner.settle(batch).await
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        self.inner.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        self.inner.lag().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
