//! One run of either side: the broker's own client, or this library. Every run has topics, ids and a log of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saga_core::memory::MemoryLog;
use saga_core::ports::SagaLog;

use crate::broker::{Broker, ServerCpu};
use crate::cells::Cell;
use crate::durable::Run;
use crate::load::{Load, Parts, topics};
use crate::process::cpu_time;
use crate::raw::{Kafka, Nats, Rabbit, Raw, Workload};
use crate::store::{Store, clean, of_this_run};

const WARM_UP: Duration = Duration::from_secs(1);
const SAGAS_IN_FLIGHT_MAX: usize = 10_000;
const IN_MEMORY: &str = "memory:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Raw,
    Ours,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "rawsaga",
            Self::Ours => "saga-rs",
        }
    }
}

/// What runs are made on.
pub(crate) struct Ground {
    pub(crate) broker: Broker,
    pub(crate) bus_url: String,
    /// Only this library has one.
    pub(crate) log_url: Option<String>,
}

/// What one run showed.
pub(crate) struct Measured {
    pub(crate) run: Run,
    /// The broker's CPU time for each saga, if it can be told.
    pub(crate) broker_us: Option<f64>,
    /// That of the log's server, if it is one.
    pub(crate) log_us: Option<f64>,
    /// How often the log was synced for each saga, if that is told at once.
    pub(crate) syncs: Option<f64>,
    /// Commands that this library's participants have executed for each saga, and as many replies.
    pub(crate) messages: Option<f64>,
}

impl Ground {
    /// What is durable when.
    pub(crate) async fn promise(&self, side: Side) -> String {
        let broker = match self.broker {
            Broker::Kafka => Kafka::open(&self.bus_url).await.promise(),
            Broker::Rabbit => Rabbit::open(&self.bus_url).await.promise(),
            Broker::Nats => Nats::open(&self.bus_url).await.promise(),
        };
        match (side, self.log_url.as_deref()) {
            (Side::Raw, _) => format!("{broker}; no log"),
            (Side::Ours, None | Some(IN_MEMORY)) => format!("{broker}; log in memory, lost with the process"),
            (Side::Ours, Some(url)) => {
                let log = Log::open(url, u32::MAX).await;
                let promise = match &log.store {
                    Some(store) => store.promise().await,
                    None => String::new(),
                };
                log.end().await;
                format!("{broker}; log: {promise}, before anything follows from it; inboxes in memory")
            }
        }
    }

    /// The nth run of this process.
    pub(crate) async fn run(&self, side: Side, cell: Cell, nth: u32, time: Duration) -> Measured {
        let prefix = format!("bench-{}-{nth}.", std::process::id());
        match (side, self.broker) {
            (Side::Ours, _) => self.ours(&prefix, cell, nth, time).await,
            (Side::Raw, Broker::Kafka) => self.raw::<Kafka>(&prefix, cell, time).await,
            (Side::Raw, Broker::Rabbit) => self.raw::<Rabbit>(&prefix, cell, time).await,
            (Side::Raw, Broker::Nats) => self.raw::<Nats>(&prefix, cell, time).await,
        }
    }

    async fn raw<R: Raw>(&self, prefix: &str, cell: Cell, time: Duration) -> Measured {
        let Cell { in_flight, steps } = cell;
        let mut workload = Workload::<R>::start(&self.bus_url, prefix, steps).await;
        // Until all are there.
        workload.drive(1, Instant::now()).await;
        workload.drive(in_flight, Instant::now() + WARM_UP).await;
        let watch = Watch::start(&self.bus_url, None).await;
        let took = workload.drive(in_flight, watch.begun + time).await;
        let measured = watch.stop(took, None).await;
        workload.stop().await;
        measured
    }

    async fn ours(&self, prefix: &str, cell: Cell, nth: u32, time: Duration) -> Measured {
        let Cell { in_flight, steps } = cell;
        let adapter = self.broker.connect(&self.bus_url, prefix).await;
        let log = Log::open(self.log_url.as_deref().unwrap_or(IN_MEMORY), nth).await;
        let load = Load::start(Parts {
            bus: Arc::clone(&adapter.bus),
            log: Arc::clone(&log.log),
            prefix: format!("saga-{}-{nth}", std::process::id()),
            steps,
            ..Parts::new(SAGAS_IN_FLIGHT_MAX)
        });
        load.one().await;
        load.drive(in_flight, Instant::now() + WARM_UP).await;
        let watch = Watch::start(&self.bus_url, log.store.as_ref()).await;
        let executed = load.executed();
        let took = load.drive(in_flight, watch.begun + time).await;
        let commands = load.executed() - executed;
        assert!(
            commands >= (steps * took.len()) as u64,
            "{commands} commands cannot be those of {} sagas",
            took.len()
        );
        let messages = 2.0 * commands as f64 / took.len() as f64;
        let measured = watch.stop(took, log.store.as_ref()).await;
        let measured = Measured { messages: Some(messages), ..measured };
        load.stop().await;
        adapter.end(&topics(steps)).await;
        self.broker.forget(&self.bus_url, prefix).await;
        log.end().await;
        measured
    }
}

/// What had been used when a run began.
struct Watch {
    begun: Instant,
    cpu: Duration,
    broker: ServerCpu,
    broker_cpu: Option<Duration>,
    log_cpu: Option<Duration>,
    syncs: Option<u64>,
}

impl Watch {
    async fn start(bus_url: &str, store: Option<&Store>) -> Self {
        let broker = ServerCpu::of(bus_url);
        let (log_cpu, syncs) = used(store).await;
        Self { broker_cpu: broker.now(), broker, log_cpu, syncs, cpu: cpu_time(), begun: Instant::now() }
    }

    async fn stop(self, took: Vec<Duration>, store: Option<&Store>) -> Measured {
        let run = Run::new(took, self.begun.elapsed(), cpu_time() - self.cpu);
        let count = run.count as f64;
        let us = |now: Option<Duration>, before: Option<Duration>| {
            Some((now? - before?).as_secs_f64() * 1e6 / count)
        };
        let broker_us = us(self.broker.now(), self.broker_cpu);
        let (log_cpu, syncs) = used(store).await;
        let syncs = syncs.zip(self.syncs).map(|(now, before)| (now - before) as f64 / count);
        Measured { run, broker_us, log_us: us(log_cpu, self.log_cpu), syncs, messages: None }
    }
}

/// The CPU time of the log's server, and how often the log was synced, as far as that is told at once.
async fn used(store: Option<&Store>) -> (Option<Duration>, Option<u64>) {
    match store {
        None => (None, None),
        Some(store @ Store::Sqlite(_)) => (None, Some(store.syncs().await)),
        Some(store @ Store::Postgres(_)) => (Some(store.server_cpu().await), None),
    }
}

/// The log of one run.
struct Log {
    url: String,
    store: Option<Store>,
    log: Arc<dyn SagaLog>,
}

impl Log {
    async fn open(url: &str, nth: u32) -> Self {
        if url == IN_MEMORY {
            return Self { url: url.to_owned(), store: None, log: Arc::new(MemoryLog::new()) };
        }
        let url = match url.strip_prefix("sqlite:") {
            Some(file) => format!("sqlite:{file}-{}-{nth}", std::process::id()),
            None => of_this_run(url),
        };
        let (store, log) = Store::open(&url).await;
        Self { url, store: Some(store), log }
    }

    /// Removes what it had written.
    async fn end(self) {
        drop((self.store, self.log));
        if let Some(file) = self.url.strip_prefix("sqlite:") {
            for end in ["", "-wal", "-shm"] {
                let _none = std::fs::remove_file(format!("{file}{end}"));
            }
        } else {
            clean(&self.url).await;
        }
    }
}
