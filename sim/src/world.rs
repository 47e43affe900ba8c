//! What all processes share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use saga_core::machine::Instance;
use saga_core::memory::{MemoryBus, MemoryLog, TokioClock};
use saga_core::record::{SagaKey, Timestamp};
use saga_core::{Saga, Sagas};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::LeapingClock;
use crate::coverage::Coverage;
use crate::definitions::{Definitions, known};
use crate::inbox::Store;
use crate::laws::{Broken, Law};
use crate::ledger::Ledger;
use crate::mutants::Mutant;
use crate::plan::Plan;
use crate::process::{Armed, Process};
use crate::seen::{Recorded, Seen};
use crate::trace::{Trace, Wanted};
use crate::weather::Weather;

/// Simulated time begins with the year 2000.
const START: Timestamp = Timestamp::from_millis(946_684_800_000);
/// Longer than any run: a trigger may come late.
const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The world of one run.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) clock: TokioClock,
    pub(crate) log_clock: Arc<LeapingClock>,
    pub(crate) bus: MemoryBus,
    pub(crate) log: MemoryLog,
    pub(crate) store: Mutex<Store>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) slots: Mutex<Vec<Slot>>,
    pub(crate) weather: Mutex<Weather>,
    /// Every definition, for who only looks.
    definitions: Mutex<Definitions>,
    broken: Mutex<Option<Broken>>,
    /// Messages on their slow way.
    pub(crate) late: Mutex<JoinSet<()>>,
}

/// A place for a process.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) process: Option<Arc<Process>>,
    /// What is to happen to the next one here.
    pub(crate) next_armed: Option<Armed>,
    /// What a coordinator's callers hold.
    pub(crate) handles: BTreeMap<(&'static str, u32), Sagas<u32>>,
}

impl World {
    pub(crate) fn new(plan: Plan, mutant: Option<Mutant>, wanted: Wanted) -> Self {
        let clock = TokioClock::starting_at(START);
        let log_clock = Arc::new(LeapingClock::new(clock.clone()));
        let slots = plan.setup.coordinators + plan.setup.participants;
        Self {
            mutant,
            trace: Trace::new(wanted),
            coverage: Coverage::default(),
            bus: MemoryBus::builder().clock(Arc::new(clock.clone())).build(),
            log: MemoryLog::builder()
                .clock(Arc::<LeapingClock>::clone(&log_clock))
                .idempotency_window(IDEMPOTENCY_WINDOW)
                .strict_storage(true)
                .build(),
            store: Mutex::new(Store::new(START, mutant)),
            ledger: Mutex::default(),
            seen: Mutex::default(),
            slots: Mutex::new((0..slots).map(|_| Slot::default()).collect()),
            weather: Mutex::default(),
            definitions: Mutex::default(),
            broken: Mutex::default(),
            late: Mutex::default(),
            plan,
            clock,
            log_clock,
        }
    }

    /// Learns the definitions. Until [`clear`](Self::clear) the world then refers to itself.
    pub(crate) fn learn(self: &Arc<Self>) {
        let (stop, _) = oneshot::channel();
        let observer = Arc::new(Process::new(self, 0, u64::MAX, "observer".into(), stop));
        *lock(&self.definitions) = known(&observer, false);
    }

    pub(crate) fn clear(&self) {
        lock(&self.definitions).clear();
        lock(&self.slots).clear();
    }

    /// The saga of a record; breaks the law if it cannot be replayed.
    pub(crate) fn replay(&self, key: &SagaKey, record: &Recorded) -> Option<Instance> {
        let definitions = lock(&self.definitions);
        let mut all = definitions.values().map(Saga::definition);
        let definition = Arc::clone(all.find(|definition| *definition.id() == record.definition)?);
        drop(definitions);
        let replayed = Instance::replay(definition, &record.entries);
        replayed.map_err(|corrupt| self.breaks(Law::Replay.broken(format!("{key}: {corrupt}")))).ok()
    }

    /// Takes note of a law that was broken; the first counts.
    pub(crate) fn breaks(&self, broken: Broken) {
        self.trace.say("LAW", || format!("BROKEN {broken}"));
        lock(&self.broken).get_or_insert(broken);
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        lock(&self.broken).clone()
    }

    /// The processes that live.
    pub(crate) fn processes(&self) -> Vec<Arc<Process>> {
        lock(&self.slots).iter().filter_map(|slot| slot.process.clone()).collect()
    }

    pub(crate) fn process(&self, slot: usize) -> Option<Arc<Process>> {
        lock(&self.slots)[slot].process.clone()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.plan.seed).finish_non_exhaustive()
    }
}

/// Locks, also after a panic elsewhere.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
