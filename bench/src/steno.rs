//! `bench steno memory:|sqlite:FILE`: a saga of four parallel steps by steno, the other crate that coordinates sagas, in turns with this library.
//! steno runs steps in its own process and has no bus: here they are functions for it, and for us handlers behind the in-memory bus. Both get
//! the same input, and keep the same promise of durability.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::steno::{
    Action, ActionContext, ActionError, ActionRegistry, DagBuilder, InMemorySecStore, Node, SagaCachedState,
    SagaCreateParams, SagaDag, SagaId, SagaName, SagaNodeEvent, SagaType, SecClient, SecStore,
    new_action_noop_undo, sec,
};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use saga_core::memory::MemoryLog;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::durable::{Run, probe, runtime};
use crate::load::{Load, Order, Parts, drive};
use crate::process::cpu_time;
use crate::spread::Spread;
use crate::store::Store;

const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 5;
const RUN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
const STEPS: [&str; 4] = ["one", "two", "three", "four"];
/// How many records go with one commit at most, as in our log.
const GATHER_MAX: usize = 256;

pub(crate) fn run(url: &str) {
    runtime().block_on(measure(url));
}

async fn measure(url: &str) {
    let file = url.strip_prefix("sqlite:");
    let promise = match file {
        None => "logs in memory, lost with the process",
        Some(_) => "logs in SQLite, write-ahead log, synchronous=FULL",
    };
    println!(
        "saga-rs {} and steno 0.5; {promise}; a saga of 4 parallel steps of 300 B, {IN_FLIGHT} in flight",
        env!("CARGO_PKG_VERSION")
    );
    let probed_before = probe();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS} ");
        theirs.push(one_of_theirs(file, round).await);
        ours.push(one_of_ours(file, round).await);
    }
    eprint!("\r{:20}\r", "");
    let probed_after = probe();
    let of = |runs: &[Run], figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    let sides = [("steno", &theirs), ("saga-rs", &ours)].map(|(name, runs)| {
        let (rate, p50) = (of(runs, |run| run.per_second), of(runs, |run| run.p50.as_secs_f64() * 1e3));
        let (p99, cpu) = (of(runs, |run| run.p99.as_secs_f64() * 1e3), of(runs, |run| run.cpu_us));
        println!("{name:<8} {rate:.0} sagas/s, p50 {p50:.1} ms, p99 {p99:.1} ms, {cpu:.0} µs CPU a saga");
        json!({ "side": name, "sagas_per_second": rate.json(), "p50_ms": p50.json(), "p99_ms": p99.json(), "cpu_us": cpu.json() })
    });
    let ratio =
        Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours.per_second / theirs.per_second));
    println!("saga-rs ÷ steno, of neighbours: {ratio:.2}");
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "steno", "promise": promise, "in_flight": IN_FLIGHT, "rounds": ROUNDS, "sides": sides, "ratio": ratio.json(),
                "fdatasync_us": [probed_before.as_micros() as u64, probed_after.as_micros() as u64] })
    );
}

/// Runs after a warm-up.
async fn measured<F>(one: impl Fn() -> F + Clone + Send + 'static) -> Run
where
    F: Future<Output = Duration> + Send + 'static,
{
    drive(IN_FLIGHT, Instant::now() + WARM_UP, one.clone()).await;
    let (cpu, begun) = (cpu_time(), Instant::now());
    let took = drive(IN_FLIGHT, begun + RUN, one).await;
    Run::new(took, begun.elapsed(), cpu_time() - cpu)
}

async fn one_of_ours(file: Option<&str>, round: usize) -> Run {
    let file = file.map(|file| format!("{file}-ours-{round}"));
    let mut parts = Parts::new(10_000);
    parts.log = match &file {
        None => Arc::new(MemoryLog::new()),
        Some(file) => Store::open(&format!("sqlite:{file}")).await.1,
    };
    let load = Load::start(parts);
    let driven = Arc::clone(&load);
    let run = measured(move || {
        let load = Arc::clone(&driven);
        async move { load.one().await }
    });
    let run = run.await;
    load.stop().await;
    drop(load);
    file.as_deref().map(remove);
    run
}

async fn one_of_theirs(file: Option<&str>, round: usize) -> Run {
    let file = file.map(|file| format!("{file}-steno-{round}"));
    let store: Arc<dyn SecStore> = match &file {
        None => Arc::new(InMemorySecStore::new()),
        Some(file) => Arc::new(SqliteStore::open(file.as_ref())),
    };
    let peer = Arc::new(Peer::start(store));
    let driven = Arc::clone(&peer);
    let run = measured(move || {
        let peer = Arc::clone(&driven);
        async move { peer.one().await }
    });
    let run = run.await;
    Arc::into_inner(peer).expect("nobody drives it any more").coordinator.shutdown().await;
    file.as_deref().map(remove);
    run
}

fn remove(file: &str) {
    for end in ["", "-wal", "-shm"] {
        let _none = std::fs::remove_file(format!("{file}{end}"));
    }
}

#[derive(Debug)]
struct OrderSaga;

impl SagaType for OrderSaga {
    type ExecContextType = ();
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    ok: bool,
}

async fn step(context: ActionContext<OrderSaga>) -> Result<Done, ActionError> {
    let _order: Order = context.saga_params()?;
    Ok(Done { ok: true })
}

struct Peer {
    coordinator: SecClient,
    actions: [Arc<dyn Action<OrderSaga>>; 4],
    registry: Arc<ActionRegistry<OrderSaga>>,
}

impl Peer {
    fn start(store: Arc<dyn SecStore>) -> Self {
        let actions = STEPS.map(|name| new_action_noop_undo(name, step));
        let mut registry = ActionRegistry::new();
        actions.iter().for_each(|action| registry.register(Arc::clone(action)));
        let log = slog::Logger::root(slog::Discard, slog::o!());
        Self { coordinator: sec(log, store), actions, registry: Arc::new(registry) }
    }

    /// Runs one saga to its end, and returns how long it took.
    async fn one(&self) -> Duration {
        let begun = Instant::now();
        let mut dag = DagBuilder::new(SagaName::new("bench"));
        let nodes = STEPS.iter().zip(&self.actions).map(|(name, action)| Node::action(name, name, &**action));
        dag.append_parallel(nodes.collect());
        dag.append(Node::constant("end", Value::Null));
        let order = serde_json::to_value(Order::new("order", 0)).expect("it can be written");
        let dag = Arc::new(SagaDag::new(dag.build().expect("it is a graph"), order));
        let id = SagaId::new_v4();
        let registry = Arc::clone(&self.registry);
        let created = self.coordinator.saga_create(id, Arc::new(()), dag, registry).await;
        let ended = created.expect("it is created");
        self.coordinator.saga_start(id).await.expect("it starts");
        assert!(ended.await.kind.is_ok(), "it is completed");
        begun.elapsed()
    }
}

/// What steno wants to be kept, in SQLite, with one commit for whatever has gathered: steno itself has a store in memory only.
#[derive(Debug)]
struct SqliteStore {
    jobs: mpsc::Sender<(Job, oneshot::Sender<()>)>,
}

#[derive(Debug)]
enum Job {
    Create(SagaCreateParams),
    Event(SagaNodeEvent),
    Update(SagaId, SagaCachedState),
}

impl SqliteStore {
    fn open(file: &Path) -> Self {
        let connection = Connection::open(file).expect("the file can be made");
        let prepared = connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536; \
             CREATE TABLE saga (id TEXT PRIMARY KEY, name TEXT, dag TEXT, state TEXT) STRICT; \
             CREATE TABLE event (saga TEXT, node TEXT, event TEXT) STRICT;",
        );
        prepared.expect("the file is new");
        let (jobs, mut queue) = mpsc::channel::<(Job, oneshot::Sender<()>)>(1_024);
        std::thread::spawn(move || {
            let mut gathered = Vec::new();
            while queue.blocking_recv_many(&mut gathered, GATHER_MAX) > 0 {
                let (jobs, answers): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
                commit(&connection, jobs).expect("the disk takes it");
                for answer in answers {
                    let _gone = answer.send(());
                }
            }
        });
        Self { jobs }
    }

    async fn durable(&self, job: Job) {
        let (answer, answered) = oneshot::channel();
        self.jobs.send((job, answer)).await.expect("it writes for as long as there are jobs");
        answered.await.expect("it answers each");
    }
}

fn commit(connection: &Connection, jobs: Vec<Job>) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in jobs {
        match job {
            Job::Create(SagaCreateParams { id, name, dag, state }) => {
                let row = params![id.to_string(), name.to_string(), dag.to_string(), state.to_string()];
                connection.prepare_cached("INSERT INTO saga VALUES (?, ?, ?, ?)")?.execute(row)?;
            }
            Job::Event(event) => {
                let text = serde_json::to_string(&event.event_type).expect("it can be written");
                let row = params![event.saga_id.to_string(), event.node_id.to_string(), text];
                connection.prepare_cached("INSERT INTO event VALUES (?, ?, ?)")?.execute(row)?;
            }
            Job::Update(id, state) => {
                let row = params![id.to_string(), state.to_string()];
                connection.prepare_cached("UPDATE saga SET state = ?2 WHERE id = ?1")?.execute(row)?;
            }
        }
    }
    connection.execute_batch("COMMIT")
}

#[async_trait]
impl SecStore for SqliteStore {
    async fn saga_create(&self, params: SagaCreateParams) -> Result<(), anyhow::Error> {
        self.durable(Job::Create(params)).await;
        Ok(())
    }

    async fn record_event(&self, event: SagaNodeEvent) {
        self.durable(Job::Event(event)).await;
    }

    async fn saga_update(&self, id: SagaId, state: SagaCachedState) {
        self.durable(Job::Update(id, state)).await;
    }
}
