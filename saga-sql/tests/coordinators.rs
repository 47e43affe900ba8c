//! Whole sagas over a log in a database: several coordinators, one of which dies, and a bus that forgets. PostgreSQL's cases are ignored
//! unless `cargo xtask test` runs them, which starts a server.
#![cfg(all(feature = "postgres", feature = "sqlite"))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use saga_core::coordinator::CoordinatorOptions;
use saga_core::memory::{MemoryBus, TokioClock};
use saga_core::ports::{Inbox, SagaLog};
use saga_core::record::Status;
use saga_core::{Contract, Saga, Sagas, Service, StepContext, StepError, Undo, handler};
use saga_sql::postgres::{PostgresConfig, PostgresInbox, PostgresLog};
use saga_sql::sqlite::{SqliteInbox, SqliteInboxConfig, SqliteLog, SqliteLogConfig};
use tokio::task::JoinHandle;

const FIRST: Contract<u32, u32> = Contract::new("first");
const SECOND: Contract<u32, u32> = Contract::new("second");
const LEASE: Duration = Duration::from_secs(2);
const SAGAS: u32 = 40;

/// What a process opens: a log, and the barrier of its participants.
type Opened = (Arc<dyn SagaLog>, Arc<dyn Inbox>);

async fn sqlite(case: &str) -> Opened {
    let folder = std::env::temp_dir().join(format!("saga-sql-coordinators-{}-{case}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let clock = || Arc::new(TokioClock::new());
    let log = SqliteLog::open(SqliteLogConfig::new(folder.join("log.db")), clock()).await.unwrap();
    let inbox = SqliteInbox::open(SqliteInboxConfig::new(folder.join("books.db")), clock()).await.unwrap();
    (Arc::new(log), Arc::new(inbox))
}

async fn postgres(case: &str) -> Opened {
    let url = std::env::var("SAGA_POSTGRES_URL")
        .expect("SAGA_POSTGRES_URL is not set: run `cargo xtask test`, which starts PostgreSQL");
    let mut config = PostgresConfig::from_url(&url).unwrap();
    config.schema = Some(format!("coordinators_{}_{case}", std::process::id()));
    let log = PostgresLog::open(config.clone()).await.unwrap();
    (Arc::new(log), Arc::new(PostgresInbox::open(config).await.unwrap()))
}

fn saga() -> Saga<u32> {
    let mut saga = Saga::<u32>::builder("checkout", 1);
    let first = saga.step(&FIRST, |n| *n);
    saga.step_after(&first, &SECOND, |n, _| *n);
    saga.build().unwrap()
}

/// A process with a coordinator, and with participants or none.
fn process(bus: &MemoryBus, opened: Opened, name: &str, is_serving: bool) -> (Sagas<u32>, JoinHandle<()>) {
    let mut options = CoordinatorOptions::default();
    options.name = name.into();
    options.lease_ttl = LEASE;
    options.resend.first = Duration::from_millis(500);
    options.resend.max = Duration::from_secs(1);
    let saga = saga();
    let mut service = Service::builder(Arc::new(bus.clone())).log(opened.0).inbox(opened.1);
    service = service.coordinator_options(options).coordinate(&saga);
    if is_serving {
        let execute = |n: u32, _: StepContext| async move { Ok::<_, StepError>(n) };
        let undo = |_: Undo<u32, u32>, _: StepContext| async { Ok(()) };
        // Every third is refused by the second step, so that the first is undone.
        let second = |n: u32, _: StepContext| async move {
            if n.is_multiple_of(3) { Err(StepError::reject("no")) } else { Ok(n) }
        };
        service = service.serve(&FIRST, handler(execute).undo(undo));
        service = service.serve(&SECOND, handler(second).undo(undo));
    }
    let service = service.build().unwrap();
    let sagas = service.sagas(&saga).unwrap();
    let running = tokio::spawn(async move {
        service.run(std::future::pending()).await.unwrap();
    });
    (sagas, running)
}

async fn assert_ended(sagas: &Sagas<u32>) {
    for n in 0..SAGAS {
        let outcome = sagas.outcome(&n.to_string()).await.unwrap();
        let expected = if n % 3 == 0 { Status::RolledBack } else { Status::Completed };
        assert_eq!(outcome.status, expected, "saga {n}: {outcome:?}");
    }
}

/// A coordinator dies with its sagas under way, and its bus with it. Another one takes them over once the lease has run out.
async fn a_dead_coordinators_sagas_end_elsewhere(first: Opened, second: Opened) {
    let (sagas, dying) = process(&MemoryBus::new(), first, "first", false);
    for n in 0..SAGAS {
        sagas.start(&n.to_string(), &n).await.unwrap();
    }
    dying.abort();
    let _aborted = dying.await;
    let begun = Instant::now();
    let (sagas, _running) = process(&MemoryBus::new(), second, "second", true);
    assert_ended(&sagas).await;
    let took = begun.elapsed();
    assert!(took < LEASE + Duration::from_secs(3), "it took {took:?}, with a lease of {LEASE:?}");
    println!("taken over and ended after {took:?}, with a lease of {LEASE:?}");
}

/// Three coordinators share the replies of one bus and one log, whoever started a saga.
async fn several_coordinators_share_a_log(opened: [Opened; 3]) {
    let bus = MemoryBus::new();
    let names = ["one", "two", "three"];
    let processes: Vec<_> =
        opened.into_iter().zip(names).map(|(opened, name)| process(&bus, opened, name, true)).collect();
    for n in 0..SAGAS {
        let (sagas, _) = &processes[n as usize % processes.len()];
        sagas.start(&n.to_string(), &n).await.unwrap();
    }
    assert_ended(&processes[0].0).await;
    let again = processes[1].0.start("1", &1).await.unwrap();
    assert!(!again.is_new, "starting twice is starting once, whoever starts");
    assert!(processes[2].0.start("1", &2).await.is_err(), "with another input it is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_coordinators_sagas_end_elsewhere_on_sqlite() {
    a_dead_coordinators_sagas_end_elsewhere(sqlite("dead").await, sqlite("dead").await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn a_dead_coordinators_sagas_end_elsewhere_on_postgres() {
    a_dead_coordinators_sagas_end_elsewhere(postgres("dead").await, postgres("dead").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_coordinators_share_a_log_on_sqlite() {
    let opened = [sqlite("several").await, sqlite("several").await, sqlite("several").await];
    several_coordinators_share_a_log(opened).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: cargo xtask test"]
async fn several_coordinators_share_a_log_on_postgres() {
    let opened = [postgres("several").await, postgres("several").await, postgres("several").await];
    several_coordinators_share_a_log(opened).await;
}
