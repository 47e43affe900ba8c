//! A thousand sagas at once over a bus that loses, duplicates, delays, reorders and refuses, checked against the books that the
//! participants keep themselves. The same with coordinators and participants dropped at random.
//!
//! Another storm: `SAGA_SEED=7 cargo test -p saga-rs --test chaos`

mod books;
mod shop;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use saga::memory::{Faults, MemoryBus, MemoryInbox, MemoryLog, TokioClock};
use saga::ports::{Clock, Inbox, Query, SagaLog};
use saga::{
    CoordinatorOptions, EventBus, Saga, Sagas, Service, ServiceBuilder, StartError, Status, Timestamp,
};
use tokio::task::{JoinHandle, JoinSet};

use books::{Books, Dice};
use shop::{Order, checkout, serve};

const SAGAS: u64 = 1_000;
/// More virtual time than any of them needs.
const TIME_MAX: Duration = Duration::from_secs(3_600);

/// What outlives every process.
struct World {
    seed: u64,
    clock: Arc<dyn Clock>,
    bus: MemoryBus,
    log: MemoryLog,
    inbox: Arc<dyn Inbox>,
    books: Arc<Books>,
    saga: Saga<Order>,
    /// How many processes there were.
    processes: u64,
}

/// A process that is dropped without warning.
struct Process {
    task: JoinHandle<Result<(), saga::Error>>,
    sagas: Option<Sagas<Order>>,
}

fn seed() -> u64 {
    std::env::var("SAGA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

impl World {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp::from_millis(1_000_000)));
        let bus = MemoryBus::builder().clock(Arc::clone(&clock)).faults(storm(seed)).build();
        let log = MemoryLog::builder().clock(Arc::clone(&clock)).idempotency_window(TIME_MAX * 2).build();
        let inbox = Arc::new(MemoryInbox::new(Arc::clone(&clock)));
        let books = Arc::new(Books::new(seed));
        let saga = checkout(&books);
        Self { seed, clock, bus, log, inbox, books, saga, processes: 0 }
    }

    fn service(&self) -> ServiceBuilder {
        let bus: Arc<dyn EventBus> = Arc::new(self.bus.connect());
        let log: Arc<dyn SagaLog> = Arc::new(self.log.clone());
        Service::builder(bus).log(log).inbox(Arc::clone(&self.inbox)).clock(Arc::clone(&self.clock))
    }

    fn coordinator(&mut self) -> Process {
        self.processes += 1;
        let mut options = CoordinatorOptions::default();
        options.name = format!("coordinator-{}", self.processes).into();
        options.run_id_seed = Some(self.seed.wrapping_mul(1_000_000) + self.processes);
        let service = self.service().coordinate(&self.saga).coordinator_options(options).build().unwrap();
        let sagas = service.sagas(&self.saga).unwrap();
        Process { task: tokio::spawn(service.run(std::future::pending())), sagas: Some(sagas) }
    }

    fn participants(&self) -> Process {
        let service = serve(self.service(), &self.books).build().unwrap();
        Process { task: tokio::spawn(service.run(std::future::pending())), sagas: None }
    }

    /// Until every saga has ended and everyone who is to be told has been.
    async fn settle(&self) {
        while self.under_way().await > 0 {
            assert!(
                self.clock.now() < Timestamp::from_millis(1_000_000).after(TIME_MAX),
                "{}",
                self.stuck().await
            );
            self.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// How many sagas are more than a tombstone.
    async fn under_way(&self) -> u64 {
        self.log.census().await.unwrap().iter().map(|line| line.count).sum()
    }

    async fn stuck(&self) -> String {
        let query = Query { limit: usize::MAX, ..Query::default() };
        let all = self.log.list(query).await.unwrap();
        let stuck = all.into_iter().filter(|line| line.definition.is_some()).collect::<Vec<_>>();
        let keys = stuck.iter().map(|line| line.key.clone()).take(3).collect::<Vec<_>>();
        let records = self.log.load(&keys).await;
        format!("seed {}: {} sagas have not come out, for example {records:#?}", self.seed, stuck.len())
    }

    /// Every saga ended, and its books say the same.
    async fn check(&self, sagas: &Sagas<Order>) {
        let (mut completed, mut rolled_back) = (0, 0);
        for order in orders() {
            let outcome = sagas.outcome(&order.id).await.unwrap();
            match outcome.status {
                Status::Completed => completed += 1,
                Status::RolledBack => rolled_back += 1,
                other => panic!("seed {}: {} is {other}: {:?}", self.seed, order.id, outcome.reason),
            }
            self.books.check(&order.id, outcome.status);
        }
        println!("{completed} completed, {rolled_back} rolled back");
        assert!(
            completed > SAGAS / 4 && rolled_back > SAGAS / 20,
            "{completed} completed, {rolled_back} rolled back"
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn storm(seed: u64) -> Faults {
    let delay_max = Duration::from_secs(2);
    Faults {
        drop: 0.2,
        duplicate: 0.2,
        reorder: 0.2,
        delay: 0.2,
        delay_max,
        refuse: 0.1,
        ..Faults::seeded(seed)
    }
}

fn orders() -> impl Iterator<Item = Order> {
    (0..SAGAS).map(|n| Order { id: format!("order-{n}"), cents: 100 + n })
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sagas_end_right_over_a_bad_bus() {
    let mut world = World::new(seed());
    let _participants = world.participants();
    let coordinator = world.coordinator();
    let sagas = coordinator.sagas.clone().unwrap();
    let mut starts = JoinSet::new();
    for order in orders() {
        let sagas = sagas.clone();
        starts.spawn(async move { sagas.start(&order.id, &order).await.unwrap() });
    }
    assert!(starts.join_all().await.iter().all(|started| started.is_new));
    world.settle().await;
    world.check(&sagas).await;
    world.books.check_that_nothing_ran_twice();
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sagas_end_right_while_everyone_crashes() {
    let mut world = World::new(seed().wrapping_add(1));
    let mut coordinators = [world.coordinator(), world.coordinator()];
    let mut participants = [world.participants(), world.participants()];
    let current = Arc::new(Mutex::new(coordinators[0].sagas.clone().unwrap()));
    let mut starts = JoinSet::new();
    for order in orders() {
        starts.spawn(start_at_any_price(Arc::clone(&current), order));
    }
    let mut dice = Dice::new(world.seed);
    let mut crashes = 0;
    while !starts.is_empty() || world.under_way().await > 0 {
        while starts.try_join_next().is_some_and(|started| started.is_ok()) {}
        world.clock.sleep(Duration::from_millis(100 + dice.below(1_400))).await;
        assert!(
            world.clock.now() < Timestamp::from_millis(1_000_000).after(TIME_MAX),
            "{}",
            world.stuck().await
        );
        let which = usize::from(dice.below(2) == 1);
        if dice.below(2) == 1 {
            coordinators[which] = world.coordinator();
            *current.lock().unwrap() = coordinators[which].sagas.clone().unwrap();
        } else {
            participants[which] = world.participants();
        }
        crashes += 1;
    }
    println!("{crashes} crashes");
    let sagas = current.lock().unwrap().clone();
    world.check(&sagas).await;
}

/// The caller does not know either whether a start that failed has taken place: it starts again, with the same id.
async fn start_at_any_price(sagas: Arc<Mutex<Sagas<Order>>>, order: Order) {
    loop {
        let now = sagas.lock().unwrap().clone();
        match now.start(&order.id, &order).await {
            Ok(_) => return,
            Err(StartError::Failed(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(refused) => panic!("{refused}"),
        }
    }
}
