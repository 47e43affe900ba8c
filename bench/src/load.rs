//! The load: a saga of four parallel steps, each given about 300 bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use saga_core::coordinator::CoordinatorOptions;
use saga_core::memory::{InboxLimits, MemoryBus, MemoryInbox, MemoryLog, TokioClock};
use saga_core::ports::{Delivery, SagaLog, SubscriptionSpec};
use saga_core::{
    Contract, EventBus, Saga, Sagas, Service, ServiceBuilder, StepContext, StepError, Topic, Undo, handler,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    id: String,
    pad: String,
}

impl Order {
    pub(crate) fn new(n: u64) -> Self {
        Self { id: format!("order-{n}"), pad: "x".repeat(270) }
    }
}

#[derive(Serialize, Deserialize)]
struct Done {
    ok: bool,
}

/// How many tasks start sagas and await them.
const LOAD_TASKS: usize = 4;

const STEPS: [Contract<Order, Done>; 4] =
    [Contract::new("one"), Contract::new("two"), Contract::new("three"), Contract::new("four")];

/// A running service.
pub(crate) struct Load {
    sagas: Sagas<Order>,
    next: AtomicU64,
}

impl Load {
    /// Starts a service in memory that coordinates the saga and does its steps.
    pub(crate) fn start(in_flight_max: usize, inbox_rows_max: Option<usize>) -> Arc<Self> {
        Self::start_with(Arc::new(MemoryLog::new()), in_flight_max, inbox_rows_max)
    }

    /// The same, with its sagas in this log.
    pub(crate) fn start_with(
        log: Arc<dyn SagaLog>,
        in_flight_max: usize,
        inbox_rows_max: Option<usize>,
    ) -> Arc<Self> {
        let saga = saga();
        let mut limits = InboxLimits::default();
        limits.rows_max = inbox_rows_max.unwrap_or(limits.rows_max);
        let clock = Arc::new(TokioClock::new());
        let inbox = Arc::new(MemoryInbox::with_limits(clock, limits));
        let mut service = coordinator(Arc::new(MemoryBus::new()), &saga, in_flight_max).log(log).inbox(inbox);
        for step in &STEPS {
            let execute = |_: Order, _: StepContext| async { Ok::<_, StepError>(Done { ok: true }) };
            let undo = |_: Undo<Order, Done>, _: StepContext| async { Ok(()) };
            service = service.serve(step, handler(execute).undo(undo));
        }
        Self::run(service.build().expect("the service can run"), &saga)
    }

    /// Starts a service in memory that only coordinates the saga: nobody answers. Its commands are taken off the bus, or stay there.
    pub(crate) async fn start_unserved(in_flight_max: usize, are_commands_consumed: bool) -> Arc<Self> {
        let saga = saga();
        let bus = Arc::new(MemoryBus::new());
        let service = coordinator(Arc::clone(&bus) as _, &saga, in_flight_max);
        let load = Self::run(service.build().expect("the service can run"), &saga);
        // The coordinator declares the topics as it starts.
        load.start_one().await;
        for step in STEPS.iter().filter(|_| are_commands_consumed) {
            let spec = SubscriptionSpec {
                topic: Topic::new(step.topic()).expect("a topic name"),
                group: step.name().into(),
                in_flight_max: 1_024,
                key_order: false,
            };
            let subscription = bus.subscribe(spec).await.expect("it is declared");
            tokio::spawn(async move {
                while let Ok(commands) = subscription.next(512).await {
                    subscription.settle(commands.into_iter().map(Delivery::ack).collect()).await;
                }
            });
        }
        load
    }

    fn run(service: Service, saga: &Saga<Order>) -> Arc<Self> {
        let sagas = service.sagas(saga).expect("it coordinates the saga");
        tokio::spawn(service.run(std::future::pending()));
        Arc::new(Self { sagas, next: AtomicU64::new(0) })
    }

    /// Keeps `in_flight` sagas running until `until`, each awaited to its end; returns how long each took. They are awaited in a few tasks, as
    /// a consumer would that starts sagas in batches: what is measured is the sagas, not the tasks around them.
    pub(crate) async fn drive(self: &Arc<Self>, in_flight: usize, until: Instant) -> Vec<Duration> {
        let tasks = in_flight.min(LOAD_TASKS);
        let workers = (0..tasks).map(|task| {
            let load = Arc::clone(self);
            let share = in_flight / tasks + usize::from(task < in_flight % tasks);
            tokio::spawn(async move {
                let mut running: FuturesUnordered<_> = (0..share).map(|_| load.one()).collect();
                let mut took = Vec::new();
                while let Some(one) = running.next().await {
                    took.push(one);
                    if Instant::now() < until {
                        running.push(load.one());
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

    async fn one(&self) -> Duration {
        let order = Order::new(self.next.fetch_add(1, Ordering::Relaxed));
        let begun = Instant::now();
        let outcome = self.sagas.run(&order.id, &order).await.expect("it starts");
        assert!(outcome.is_completed(), "{outcome:?}");
        begun.elapsed()
    }

    /// How many sagas were begun; between two drives, all of them have ended.
    pub(crate) fn finished(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Starts one more saga without awaiting its end.
    pub(crate) async fn start_one(&self) {
        let order = Order::new(self.next.fetch_add(1, Ordering::Relaxed));
        self.sagas.start(&order.id, &order).await.expect("it starts");
    }
}

fn saga() -> Saga<Order> {
    let mut saga = Saga::<Order>::builder("bench", 1);
    for step in &STEPS {
        saga.step(step, Order::clone);
    }
    saga.build().expect("the saga can run")
}

fn coordinator(bus: Arc<dyn EventBus>, saga: &Saga<Order>, in_flight_max: usize) -> ServiceBuilder {
    let mut options = CoordinatorOptions::default();
    options.sagas_in_flight_max = in_flight_max;
    options.sagas_cached_max = in_flight_max.max(options.sagas_cached_max);
    Service::builder(bus).coordinator_options(options).coordinate(saga)
}
