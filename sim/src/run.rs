//! A run of one plan, on one thread, under simulated time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use saga_core::ports::{Declaration, EventBus, Group, GroupStart, Record, SagaLog, TopicKind};
use saga_core::record::Topic;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::check::check;
use crate::coverage::Coverage;
use crate::driver::{key, use_saga};
use crate::keeper::keep;
use crate::laws::{Broken, Law};
use crate::mutants::Mutant;
use crate::operator::{go_wrong, operate, quiet_at};
use crate::plan::Plan;
use crate::trace::Wanted;
use crate::world::{World, lock};

/// From the time when nothing is under way any more, every saga has ended within this; the log's clock may have to catch up before.
const ENDS_WITHIN: Duration = Duration::from_secs(5 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) broken: Option<Broken>,
    pub(crate) coverage: Coverage,
    /// The simulated time that the run took.
    pub(crate) took: Duration,
    /// The simulated lives of its sagas together.
    pub(crate) saga_time: Duration,
    pub(crate) sagas: usize,
    /// How long after nothing could be under way any more the last saga ended; zero for a plan in which the log's clock leaps.
    pub(crate) healing: Duration,
    pub(crate) digest: u64,
    pub(crate) lines: Vec<String>,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, mutant: Option<Mutant>, wanted: Wanted) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O can always be built");
    let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(plan.clone(), mutant, wanted))));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Ran {
            broken: Some(Law::NoFailure.broken(text.unwrap_or_default())),
            coverage: Coverage::default(),
            took: Duration::ZERO,
            saga_time: Duration::ZERO,
            sagas: 0,
            healing: Duration::ZERO,
            digest: 0,
            lines: Vec::new(),
        }
    })
}

async fn live(plan: Plan, mutant: Option<Mutant>, wanted: Wanted) -> Ran {
    let world = Arc::new(World::new(plan, mutant, wanted));
    let begun = Instant::now();
    world.learn();
    declare(&world).await;
    let quiet = quiet_at(&world, begun);
    let mut tasks = JoinSet::new();
    for slot in 0..world.plan.setup.coordinators + world.plan.setup.participants {
        tasks.spawn(keep(Arc::clone(&world), slot, begun));
    }
    for load in &world.plan.loads {
        tasks.spawn(use_saga(Arc::clone(&world), load.clone(), begun, quiet));
        tasks.spawn(operate(Arc::clone(&world), load.clone(), begun, quiet));
    }
    tasks.spawn(go_wrong(Arc::clone(&world), begun));
    let ended_at = await_end(&world, begun, quiet).await;
    if world.broken().is_none() {
        check(&world);
    }
    let took = begun.elapsed();
    tasks.shutdown().await;
    world.clear();
    let world = &*world;
    let coverage = Coverage::default();
    coverage.add(&world.coverage);
    Ran {
        broken: world.broken(),
        coverage,
        took,
        saga_time: lock(&world.seen).saga_time,
        sagas: world.plan.loads.len(),
        healing: if world.plan.leap_max().is_zero() {
            ended_at.duration_since(quiet)
        } else {
            Duration::ZERO
        },
        digest: world.trace.digest(),
        lines: world.trace.take(),
    }
}

/// Users publish before anybody reads.
async fn declare(world: &World) {
    for saga in ["trip", "order", "notice"] {
        for what in ["placed", "cancelled"] {
            let topic = Topic::new(format!("{saga}.{what}")).expect("a topic's name");
            let group = Group { name: format!("{saga}.coordinator").into(), start: GroupStart::Earliest };
            let declaration = Declaration { topic, kind: TopicKind::Events, groups: vec![group] };
            world.bus.declare(&[declaration]).await.expect("nothing else is declared");
        }
    }
}

/// Waits until every saga has ended and everything late has arrived, or until it takes too long, or a law is broken.
/// Says when the last has ended.
async fn await_end(world: &World, begun: Instant, quiet: Instant) -> Instant {
    let keys: Vec<_> = world.plan.loads.iter().map(key).collect();
    let heal_at = begun + world.plan.setup.heal_at;
    // A coordinator that began before the leap and one that began after it do not agree on the time: one waits for the other's hour, too.
    let give_up_at = quiet + 2 * world.plan.leap_max() + ENDS_WITHIN;
    sleep_until(heal_at).await;
    let mut all_ended = None;
    loop {
        if world.broken().is_some() {
            return Instant::now();
        }
        let records = world.log.load(&keys).await;
        let is_settled =
            |record: &Result<Option<Record>, _>| matches!(record, Ok(Some(Record::Tombstone(_))));
        if records.iter().all(is_settled) {
            let ended_at = *all_ended.get_or_insert(Instant::now());
            if Instant::now() > quiet {
                return ended_at;
            }
        }
        if Instant::now() > give_up_at {
            let open: Vec<_> = keys.iter().zip(&records).filter(|(_, record)| !is_settled(record)).collect();
            let open = open.iter().map(|(key, record)| match record {
                Ok(Some(Record::Stored(stored))) => format!("{key} is {}", stored.status),
                _ => format!("{key} was never started"),
            });
            world.breaks(Law::Ends.broken(open.collect::<Vec<_>>().join(", ")));
            return Instant::now();
        }
        sleep(LOOK_EVERY).await;
    }
}
