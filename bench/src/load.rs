//! The load: a saga of four parallel steps, each given about 300 bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use saga_core::coordinator::CoordinatorOptions;
use saga_core::memory::{InboxLimits, MemoryBus, MemoryInbox, MemoryLog, TokioClock};
use saga_core::{Contract, Saga, Sagas, Service, StepContext, StepError, Undo, handler};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

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

/// A running service, and the gate that its handlers wait at.
pub(crate) struct Load {
    pub(crate) sagas: Sagas<Order>,
    pub(crate) gate: Arc<Semaphore>,
    next: AtomicU64,
}

impl Load {
    /// Starts a service in memory. Handlers pass the gate at once unless it is closed.
    pub(crate) fn start(
        in_flight_max: usize,
        is_gate_open: bool,
        inbox_rows_max: Option<usize>,
    ) -> Arc<Self> {
        let mut saga = Saga::<Order>::builder("bench", 1);
        for step in &STEPS {
            saga.step(step, Order::clone);
        }
        let saga = saga.build().expect("the saga can run");
        let mut options = CoordinatorOptions::default();
        options.sagas_in_flight_max = in_flight_max;
        options.sagas_cached_max = in_flight_max.max(options.sagas_cached_max);
        let mut limits = InboxLimits::default();
        limits.rows_max = inbox_rows_max.unwrap_or(limits.rows_max);
        let clock = Arc::new(TokioClock::new());
        let gate = Arc::new(Semaphore::new(if is_gate_open { Semaphore::MAX_PERMITS } else { 0 }));
        let mut service = Service::builder(Arc::new(MemoryBus::new()))
            .log(Arc::new(MemoryLog::builder().clock(Arc::clone(&clock) as _).build()))
            .inbox(Arc::new(MemoryInbox::with_limits(Arc::clone(&clock) as _, limits)))
            .coordinator_options(options)
            .coordinate(&saga);
        for step in &STEPS {
            let gate = Arc::clone(&gate);
            let execute = move |_: Order, _: StepContext| {
                let gate = Arc::clone(&gate);
                async move {
                    let _passed = gate.acquire().await?;
                    Ok::<_, StepError>(Done { ok: true })
                }
            };
            let undo = |_: Undo<Order, Done>, _: StepContext| async { Ok(()) };
            service = service.serve(step, handler(execute).undo(undo));
        }
        let service = service.build().expect("the service can run");
        let sagas = service.sagas(&saga).expect("it coordinates the saga");
        tokio::spawn(service.run(std::future::pending()));
        Arc::new(Self { sagas, gate, next: AtomicU64::new(0) })
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
