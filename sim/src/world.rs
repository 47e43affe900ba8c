//! What all processes share, and what an observer who sees everything has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use saga_core::machine::Instance;
use saga_core::memory::{MemoryBus, MemoryLog, TokioClock};
use saga_core::ports::{Append, Clock, EventBus, Published};
use saga_core::record::{Entry, MessageId, RunId, SagaKey, Status, Timestamp, Topic};
use saga_core::wire::attributes;
use saga_core::{Ended, Ending, Error, ErrorKind, Message, Saga, Sagas};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bus::is_reply;
use crate::chance::{between, chance, happens};
use crate::clock::LeapingClock;
use crate::coverage::{Coverage, Fault, Sight};
use crate::definitions::{Definitions, known};
use crate::inbox::Store;
use crate::laws::{Broken, Law};
use crate::ledger::Ledger;
use crate::mutants::Mutant;
use crate::plan::{BusStorm, LogStorm, Plan};
use crate::process::{Armed, Process};
use crate::trace::{Trace, Wanted};

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
    late: Mutex<JoinSet<()>>,
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

/// What is wrong with the servers at the moment.
#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) bus: Option<(BusStorm, Instant)>,
    pub(crate) log: Option<(LogStorm, Instant)>,
    pub(crate) inbox: Option<(u32, Instant)>,
    draws: u64,
    sent: BTreeMap<MessageId, u32>,
}

/// What was seen of the sagas.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) records: BTreeMap<SagaKey, Recorded>,
    pub(crate) calls: BTreeMap<RunId, Vec<(MessageId, Ending)>>,
    /// How many copies of each message there are that are not settled.
    copies: BTreeMap<MessageId, u32>,
    /// Replies on the bus that nobody has been given yet, and since when.
    pub(crate) unread: BTreeMap<MessageId, Timestamp>,
    /// What nobody can read, and where it was sent.
    pub(crate) litter: Vec<(Topic, MessageId)>,
    /// Announcements that were published, or may have been.
    pub(crate) announced: BTreeSet<MessageId>,
    /// Sagas whose callers were told that they are being undone.
    pub(crate) cancelling: BTreeSet<SagaKey>,
    pub(crate) ended: BTreeSet<RunId>,
    pub(crate) saga_time: Duration,
}

/// A saga as it was appended.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) run: RunId,
    pub(crate) definition: saga_core::record::DefinitionRef,
    pub(crate) entries: Vec<Entry>,
    pub(crate) status: Status,
    begun: Instant,
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

    fn draw(weather: &mut Weather, seed: u64) -> Rng {
        weather.draws += 1;
        chance(seed, ("draw", weather.draws))
    }

    pub(crate) fn log_storm(&self) -> Option<(LogStorm, Rng)> {
        let mut weather = lock(&self.weather);
        let (storm, until) = weather.log?;
        (until > Instant::now()).then(|| (storm, Self::draw(&mut weather, self.plan.seed)))
    }

    pub(crate) fn inbox_storm(&self) -> Option<(u32, Rng)> {
        let mut weather = lock(&self.weather);
        let (per_mille, until) = weather.inbox?;
        (until > Instant::now()).then(|| (per_mille, Self::draw(&mut weather, self.plan.seed)))
    }

    /// Publishes, through the weather. What starts or cancels sagas is never lost: nobody would send it again.
    pub(crate) async fn send(self: &Arc<Self>, who: &str, batch: Vec<Message>) -> Vec<Published> {
        let mut answers = Vec::with_capacity(batch.len());
        for message in batch {
            answers.push(self.send_one(who, message).await);
        }
        answers
    }

    async fn send_one(self: &Arc<Self>, who: &str, message: Message) -> Published {
        if message.headers.get(attributes::TYPE) == Some("saga.announcement") {
            lock(&self.seen).announced.insert(message.id.clone());
        }
        let Some((storm, mut rng)) = self.bus_storm(&message.id) else {
            self.trace.say(who, || format!("publishes {} on {}", message.id, message.topic));
            return self.store_message(message).await;
        };
        let may_be_lost = message.headers.get(attributes::TYPE).is_some();
        let is_unknown = may_be_lost && happens(&mut rng, storm.unknown);
        let is_lost =
            may_be_lost && (is_unknown && rng.bool() || !is_unknown && happens(&mut rng, storm.lost));
        let copies = if is_lost { 0 } else { 1 + u32::from(happens(&mut rng, storm.doubled)) };
        self.trace.say(who, || {
            let unknown = if is_unknown { ", answered as unknown" } else { "" };
            format!("publishes {} on {}: {copies} copies{unknown}", message.id, message.topic)
        });
        for nth in 0..copies {
            let late_ms = u64::try_from(storm.late_max.as_millis()).unwrap_or(u64::MAX);
            let late = happens(&mut rng, storm.late).then(|| between(&mut rng, 1, late_ms.max(1)));
            self.count_copy(nth, late);
            match late {
                Some(late) => self.send_late(late, message.clone()),
                None => {
                    if let refused @ Published::Rejected(_) = self.store_message(message.clone()).await {
                        return refused;
                    }
                }
            }
        }
        if is_unknown {
            self.coverage.fault(if is_lost { Fault::LostUnknown } else { Fault::StoredUnknown });
            return Published::Unknown(Error::new(ErrorKind::Unknown, "no answer: simulated"));
        }
        if is_lost {
            self.coverage.fault(Fault::Lost);
        }
        Published::Acked
    }

    fn bus_storm(&self, id: &MessageId) -> Option<(BusStorm, Rng)> {
        let mut weather = lock(&self.weather);
        let (storm, until) = weather.bus?;
        let nth = weather.sent.entry(id.clone()).or_default();
        *nth += 1;
        let rng = chance(self.plan.seed, ("fate", id.as_str(), *nth));
        (until > Instant::now()).then_some((storm, rng))
    }

    fn count_copy(&self, nth: u32, late: Option<Duration>) {
        if nth > 0 {
            self.coverage.fault(Fault::Doubled);
        }
        let Some(late) = late else { return };
        self.coverage.fault(Fault::Late);
        if late > 10 * self.plan.setup.step_deadline {
            self.coverage.fault(Fault::VeryLate);
        }
    }

    fn send_late(self: &Arc<Self>, late: Duration, message: Message) {
        let world = Arc::clone(self);
        lock(&self.late).spawn(async move {
            sleep(late).await;
            world.store_message(message).await;
        });
    }

    async fn store_message(&self, message: Message) -> Published {
        let (id, is_reply) = (message.id.clone(), is_reply(&message));
        let published = self.bus.publish(vec![message]).await.remove(0);
        if matches!(published, Published::Acked) {
            let mut seen = lock(&self.seen);
            *seen.copies.entry(id.clone()).or_default() += 1;
            if is_reply {
                seen.unread.entry(id).or_insert_with(|| self.clock.now());
            }
        }
        published
    }

    /// A copy of a message was settled for good. Says whether it was the last.
    pub(crate) fn copy_is_gone(&self, id: &MessageId) -> bool {
        let mut seen = lock(&self.seen);
        let copies = seen.copies.entry(id.clone()).or_default();
        *copies = copies.saturating_sub(1);
        *copies == 0
    }

    /// Has messages come that nobody can read, on every kind of topic.
    pub(crate) async fn litter(self: &Arc<Self>, count: u32) {
        for topic in ["trip.placed", "order.replies", "notice.cancelled", "flight"] {
            for _ in 0..count {
                let topic = Topic::new(topic).expect("a topic's name");
                let nth = lock(&self.seen).litter.len();
                let id = MessageId::new(format!("garbage-{nth}"));
                let message = Message::new(topic.clone(), "{").with_id(id.as_str());
                // Before anybody has declared the topic it is refused.
                if let Published::Acked = self.send("nobody", vec![message]).await.remove(0) {
                    self.coverage.fault(Fault::Garbage);
                    lock(&self.seen).litter.push((topic, id));
                }
            }
        }
    }

    /// Sees a delivery.
    pub(crate) fn delivered(&self, who: &str, message: &Message, attempt: u32) {
        self.trace.say(who, || format!("receives {} attempt {attempt}", message.id));
        let mut seen = lock(&self.seen);
        seen.unread.remove(&message.id);
        let run = message.headers.get(attributes::RUN).and_then(|run| run.parse().ok());
        if run.is_some_and(|run: RunId| seen.ended.contains(&run)) {
            self.coverage.sight(Sight::LateArrival);
        }
    }

    /// Sees a dead letter. Commands are put there as evidence; nothing else may be.
    pub(crate) fn buried(&self, message: &Message, reason: &str) {
        let is_command = message.headers.get(attributes::TYPE) == Some("saga.command");
        let is_late_cancel = message.topic.as_str().ends_with(".cancelled");
        let is_garbage = message.id.as_str().starts_with("garbage");
        if !is_command && !is_late_cancel && !is_garbage {
            let how = format!("{} of {}: {reason}", message.id, message.topic);
            self.breaks(Law::NothingDropped.broken(how));
        }
    }

    /// Sees a callback, and says which of its run it is, from 0.
    pub(crate) fn called(&self, who: &str, ended: &Ended, is_numbered: bool) -> usize {
        self.trace.say(who, || format!("calls back {}: {}", ended.id, ended.ending));
        let mut seen = lock(&self.seen);
        let is_recorded = seen
            .records
            .get(&ended.key)
            .is_some_and(|record| record.run == ended.run && record.status == Status::from(ended.ending));
        let calls = seen.calls.entry(ended.run).or_default();
        let nth = calls.len();
        let id = if is_numbered { MessageId::new(format!("{}/{nth}", ended.id)) } else { ended.id.clone() };
        let is_same = calls.iter().all(|call| *call == (id.clone(), ended.ending));
        calls.push((id, ended.ending));
        drop(seen);
        if nth > 0 {
            self.coverage.sight(Sight::CalledAgain);
        }
        if !is_recorded || !is_same {
            let how = format!("{}: called {} with id {}", ended.key, ended.ending, ended.id);
            self.breaks(Law::OneCallback.broken(how));
        }
        nth
    }

    /// Sees an append that took effect.
    pub(crate) fn appended(&self, who: &str, append: &Append) {
        self.trace.say(who, || {
            let facts: Vec<_> = append.entries.iter().map(|entry| format!("{:?}", entry.fact)).collect();
            format!("APPENDS {} at {} {}: {}", append.key, append.expected, append.status, facts.join("; "))
        });
        let mut seen = lock(&self.seen);
        let record = seen.records.entry(append.key.clone()).or_insert_with(|| Recorded {
            run: append.run,
            definition: append.definition.clone(),
            entries: Vec::new(),
            status: append.status,
            begun: Instant::now(),
        });
        record.entries.extend(append.entries.iter().cloned());
        record.status = append.status;
        let age = record.begun.elapsed();
        if append.status.is_ended() && seen.ended.insert(append.run) {
            seen.saga_time += age;
        }
        drop(seen);
        crate::sights::see(self, append);
    }

    /// How many sagas have been started and have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        lock(&self.seen).records.values().filter(|record| !record.status.is_ended()).count()
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
