//! The load: a saga of parallel steps, four if nothing else is said, each given about 300 bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use saga_core::coordinator::CoordinatorOptions;
use saga_core::memory::{InboxLimits, MemoryBus, MemoryInbox, MemoryLog, TokioClock};
use saga_core::ports::{Delivery, SagaLog, SubscriptionSpec};
use saga_core::{
    Contract, EventBus, Saga, Sagas, Service, ServiceBuilder, StepContext, StepError, Topic, Undo, handler,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    id: String,
    pad: String,
}

impl Order {
    pub(crate) fn new(prefix: &str, n: u64) -> Self {
        Self { id: format!("{prefix}-{n}"), pad: "x".repeat(270) }
    }
}

#[derive(Serialize, Deserialize)]
struct Done {
    ok: bool,
}

/// How many tasks start sagas and await them.
const LOAD_TASKS: usize = 4;

/// Of a saga, if nothing else is said.
pub(crate) const STEPS: usize = 4;

/// Their names stay in memory: a process has few runs.
fn contracts(steps: usize) -> Vec<Contract<Order, Done>> {
    (1..=steps).map(|nth| Contract::new(format!("step-{nth}").leak())).collect()
}

/// What a service is made of, beside the saga and its steps.
pub(crate) struct Parts {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) log: Arc<dyn SagaLog>,
    pub(crate) options: CoordinatorOptions,
    pub(crate) inbox_limits: InboxLimits,
    /// What the ids of its sagas begin with: those of one log must differ.
    pub(crate) prefix: String,
    /// Where its sagas are answered, if not where all of this name are.
    pub(crate) replies: Option<String>,
    pub(crate) steps: usize,
}

impl Parts {
    /// In memory, with room for so many sagas at once.
    pub(crate) fn new(in_flight_max: usize) -> Self {
        let mut options = CoordinatorOptions::default();
        options.sagas_in_flight_max = in_flight_max;
        options.sagas_cached_max = in_flight_max.max(options.sagas_cached_max);
        Self {
            bus: Arc::new(MemoryBus::new()),
            log: Arc::new(MemoryLog::new()),
            options,
            inbox_limits: InboxLimits::default(),
            prefix: "order".to_owned(),
            replies: None,
            steps: STEPS,
        }
    }

    fn coordinator(&self, saga: &Saga<Order>) -> ServiceBuilder {
        let service = Service::builder(Arc::clone(&self.bus)).log(Arc::clone(&self.log));
        service.coordinator_options(self.options.clone()).coordinate(saga)
    }
}

/// A running service.
pub(crate) struct Load {
    sagas: Sagas<Order>,
    next: AtomicU64,
    prefix: String,
    /// How many commands its participants have executed.
    executed: Arc<AtomicU64>,
    shutdown: Mutex<Option<oneshot::Sender<()>>>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Load {
    /// Starts a service that coordinates the saga and does its steps.
    pub(crate) fn start(parts: Parts) -> Arc<Self> {
        let contracts = contracts(parts.steps);
        let saga = saga(parts.replies.as_deref(), &contracts);
        let inbox = MemoryInbox::with_limits(Arc::new(TokioClock::new()), parts.inbox_limits);
        let mut service = parts.coordinator(&saga).inbox(Arc::new(inbox));
        let executed = Arc::new(AtomicU64::new(0));
        for step in &contracts {
            let counted = Arc::clone(&executed);
            let execute = move |_: Order, _: StepContext| {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, StepError>(Done { ok: true }) }
            };
            let undo = |_: Undo<Order, Done>, _: StepContext| async { Ok(()) };
            service = service.serve(step, handler(execute).undo(undo));
        }
        Self::run(service.build().expect("the service can run"), &saga, parts.prefix, executed)
    }

    /// Starts a service that only coordinates the saga: nobody answers. Its commands are taken off the bus, or stay there.
    pub(crate) async fn start_unserved(parts: Parts, are_commands_consumed: bool) -> Arc<Self> {
        let contracts = contracts(parts.steps);
        let saga = saga(parts.replies.as_deref(), &contracts);
        let service = parts.coordinator(&saga).build().expect("the service can run");
        let load = Self::run(service, &saga, parts.prefix.clone(), Arc::default());
        // The coordinator declares the topics as it starts.
        load.start_one().await;
        for step in contracts.iter().filter(|_| are_commands_consumed) {
            let spec = SubscriptionSpec {
                topic: Topic::new(step.topic()).expect("a topic name"),
                group: step.name().into(),
                in_flight_max: 1_024,
                key_order: false,
            };
            let subscription = parts.bus.subscribe(spec).await.expect("it is declared");
            tokio::spawn(async move {
                while let Ok(commands) = subscription.next(512).await {
                    subscription.settle(commands.into_iter().map(Delivery::ack).collect()).await;
                }
            });
        }
        load
    }

    fn run(service: Service, saga: &Saga<Order>, prefix: String, executed: Arc<AtomicU64>) -> Arc<Self> {
        let sagas = service.sagas(saga).expect("it coordinates the saga");
        let (shutdown, told) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            service.run(async { told.await.unwrap_or(()) }).await.expect("it runs until it is told to stop");
        });
        let (shutdown, running) = (Mutex::new(Some(shutdown)), Mutex::new(Some(running)));
        Arc::new(Self { sagas, next: AtomicU64::new(0), prefix, executed, shutdown, running })
    }

    /// Shuts the service down.
    pub(crate) async fn stop(&self) {
        drop(self.shutdown.lock().expect("nobody panics holding it").take());
        let running = self.running.lock().expect("nobody panics holding it").take();
        running.expect("it is stopped once").await.expect("it does not panic");
    }

    /// How many commands its participants have executed.
    pub(crate) fn executed(&self) -> u64 {
        self.executed.load(Ordering::Relaxed)
    }

    /// Keeps `in_flight` sagas running until `until`, each awaited to its end; returns how long each took.
    pub(crate) async fn drive(self: &Arc<Self>, in_flight: usize, until: Instant) -> Vec<Duration> {
        let load = Arc::clone(self);
        let one = move || {
            let load = Arc::clone(&load);
            async move { load.one().await }
        };
        drive(in_flight, until, one).await
    }

    /// Runs one more saga to its end, and returns how long it took.
    pub(crate) async fn one(&self) -> Duration {
        let order = Order::new(&self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        let begun = Instant::now();
        let outcome = self.sagas.run(&order.id, &order).await.expect("it starts");
        assert!(outcome.is_completed(), "{outcome:?}");
        begun.elapsed()
    }

    /// Runs at least so many more sagas to their ends.
    pub(crate) async fn finish(self: &Arc<Self>, count: u64, in_flight: usize) {
        let begun = self.finished();
        while self.finished() - begun < count {
            self.drive(in_flight, Instant::now() + Duration::from_millis(200)).await;
        }
    }

    /// How many sagas were begun; between two drives, all of them have ended.
    pub(crate) fn finished(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Awaits the end of a saga that this service or an earlier one has started.
    pub(crate) async fn ended(&self, prefix: &str, n: u64) {
        let outcome = self.sagas.outcome(&Order::new(prefix, n).id).await.expect("it is there");
        assert!(outcome.is_completed(), "{outcome:?}");
    }

    /// Starts one more saga without awaiting its end.
    pub(crate) async fn start_one(&self) {
        let order = Order::new(&self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.sagas.start(&order.id, &order).await.expect("it starts");
    }
}

/// Keeps so many running until `until`, each to its end; returns what each did. They are awaited in a few tasks, as a consumer would that
/// starts sagas in batches: what is measured is the sagas, not the tasks around them.
pub(crate) async fn drive<F>(
    in_flight: usize,
    until: Instant,
    one: impl Fn() -> F + Clone + Send + 'static,
) -> Vec<Duration>
where
    F: Future<Output = Duration> + Send + 'static,
{
    let tasks = in_flight.min(LOAD_TASKS);
    let workers = (0..tasks).map(|task| {
        let one = one.clone();
        let share = in_flight / tasks + usize::from(task < in_flight % tasks);
        tokio::spawn(async move {
            let mut running: FuturesUnordered<_> = (0..share).map(|_| one()).collect();
            let mut took = Vec::new();
            while let Some(ended) = running.next().await {
                took.push(ended);
                if Instant::now() < until {
                    running.push(one());
                }
            }
            took
        })
    });
    let mut took = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        took.extend(worker.await.expect("a worker does not panic"));
    }
    took
}

/// The topics of a service of so many steps whose replies go where they usually do.
pub(crate) fn topics(steps: usize) -> Vec<&'static str> {
    contracts(steps).iter().map(Contract::topic).chain(["bench.replies"]).collect()
}

fn saga(replies: Option<&str>, contracts: &[Contract<Order, Done>]) -> Saga<Order> {
    let mut saga = Saga::<Order>::builder("bench", 1);
    if let Some(topic) = replies {
        saga.replies_to(topic);
    }
    for step in contracts {
        saga.step(step, Order::clone);
    }
    saga.build().expect("the saga can run")
}
