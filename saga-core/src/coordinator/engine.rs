use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::callback::Called;
use super::commit::Appended;
use super::dispatch::Performed;
use super::gather::Gathering;
use super::input::{Addressed, Input, Settling};
use super::intake::{Reader, readers};
use super::load::{Loaded, describe};
use super::options::CoordinatorOptions;
use super::others::Others;
use super::outcome::Outcome;
use super::registry::Registry;
use super::run_ids::RunIds;
use super::sagas::Sagas;
use super::slot::Slot;
use super::taken_over::TakenOver;
use super::tenure::Tenure;
use super::wake::{Poll, Polled};
use crate::definition::{Definition, Saga};
use crate::error::Error;
use crate::memory::FastHash;
use crate::ports::{Clock, Delivery, EventBus, SagaLog};
use crate::record::{SagaKey, Timestamp};

/// How many requests may wait in front of a coordinator; callers wait from then on.
const REQUESTS_MAX: usize = 1_024;
/// After this long something that failed is tried again.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Runs the sagas of the definitions it knows. Made by [`Service`](crate::Service); any number may share one log.
pub struct Coordinator {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Addressed>,
    starts: mpsc::Receiver<Addressed>,
}

/// What a coordinator and the handles to it have in common.
pub(super) struct Shared {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) log: Arc<dyn SagaLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: Registry,
    pub(super) run_ids: RunIds,
    pub(super) options: CoordinatorOptions,
    pub(super) requests: mpsc::Sender<Addressed>,
    pub(super) starts: mpsc::Sender<Addressed>,
    pub(super) others: Others,
}

impl Coordinator {
    /// A coordinator of these definitions.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when one version of a saga is given twice.
    pub fn new(
        bus: Arc<dyn EventBus>,
        log: Arc<dyn SagaLog>,
        clock: Arc<dyn Clock>,
        definitions: Vec<Arc<Definition>>,
        options: CoordinatorOptions,
    ) -> Result<Self, Error> {
        let (requests_to, requests) = mpsc::channel(REQUESTS_MAX);
        let (starts_to, starts) = mpsc::channel(REQUESTS_MAX);
        let registry = Registry::new(definitions)?;
        let run_ids = RunIds::new(options.run_id_seed);
        let shared = Shared {
            bus,
            log,
            clock,
            registry,
            run_ids,
            options,
            requests: requests_to,
            starts: starts_to,
            others: Others::default(),
        };
        Ok(Self { shared: Arc::new(shared), requests, starts })
    }

    /// A handle to start and see sagas of this definition.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when this coordinator was not given the definition.
    pub fn sagas<In>(&self, saga: &Saga<In>) -> Result<Sagas<In>, Error> {
        Sagas::new(Arc::clone(&self.shared), saga)
    }

    /// Runs until `shutdown` resolves, then stops reading, finishes what is under way within
    /// [`drain_max`](CoordinatorOptions::drain_max), and gives its lease back.
    ///
    /// Dropping the future instead loses nothing that was acknowledged: another coordinator, or the next start, takes over.
    ///
    /// # Errors
    /// When its topics cannot be declared or read for good; and, while it starts, when bus or log do not answer: that is
    /// [retryable](Error::is_retryable), by running a new one.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let readers = readers(&self.shared).await?;
        let tenure = Tenure::begin(&self.shared).await?;
        describe(&self.shared).await;
        let mut engine = Engine::new(self.shared, readers, tenure);
        engine.work.push(receive(self.requests, false));
        engine.starts = Some(self.starts);
        engine.read_all();
        engine.poll_soon(Duration::ZERO);
        engine.renew_later();
        engine.report_now();
        engine.run(shutdown).await
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// Work beside the engine; its end is something that happens to the engine.
pub(super) type Work = Pin<Box<dyn Future<Output = Happening> + Send>>;

/// What work ends with.
pub(super) enum Happening {
    Read {
        reader: usize,
        result: Result<Vec<Delivery>, Error>,
    },
    Requested {
        receiver: mpsc::Receiver<Addressed>,
        requests: Vec<Addressed>,
        are_starts: bool,
    },
    Loaded(Loaded),
    Appended(Appended),
    /// What was gathering for long enough goes.
    GatheredEnough,
    Performed(Performed),
    Settled,
    Called(Called),
    Polled(Polled),
    Renewed(Result<Tenure, Error>),
    /// A delay after a failure is over.
    Again(Vec<SagaKey>),
    Reported,
    ReportDue,
}

/// The task that owns the sagas.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Vec<Reader>,
    pub(super) tenure: Tenure,
    pub(super) slots: HashMap<SagaKey, Slot, FastHash>,
    /// Sagas with inputs to be decided.
    pub(super) queue: VecDeque<SagaKey>,
    /// Sagas to be read from the log.
    pub(super) to_load: Vec<SagaKey>,
    /// Sagas whose append goes with the next group commit, if they still have one by then.
    pub(super) to_append: Vec<SagaKey>,
    pub(super) gathering: Gathering,
    pub(super) to_settle: Vec<Settling>,
    /// One at a time: another beside it would take sagas away from the next, and cost the log more for each.
    pub(super) is_appending: bool,
    /// How many sagas count against the admission limit.
    pub(super) admitted: usize,
    /// Starts that wait for room. Nothing more is read of their kind until it is empty.
    pub(super) admission: VecDeque<Addressed>,
    /// Readers of trigger topics that wait for that.
    pub(super) held_back: Vec<usize>,
    /// Where starts by call wait for that.
    pub(super) starts: Option<mpsc::Receiver<Addressed>>,
    pub(super) callbacks_in_flight: usize,
    pub(super) callbacks_waiting: VecDeque<SagaKey>,
    /// Wakes that go after everything else that has come in.
    pub(super) wakes: Vec<Addressed>,
    /// Woken sagas that are not decided yet; the log is asked again when there are none.
    pub(super) woken: usize,
    pub(super) taken_over: TakenOver,
    /// Sagas whose records the log cannot read, and when to try them again.
    pub(super) unreadable: HashMap<SagaKey, Timestamp>,
    pub(super) poll: Poll,
    pub(super) publishes_in_flight: usize,
    /// When sagas that callers wait for were verified last.
    pub(super) verified_at: Timestamp,
    /// Work that a shutdown waits for.
    pub(super) under_way: usize,
    pub(super) is_draining: bool,
    pub(super) work: FuturesUnordered<Work>,
}

impl Engine {
    fn new(shared: Arc<Shared>, readers: Vec<Reader>, tenure: Tenure) -> Self {
        // The order in which sagas are looked through, and dropped, must repeat where their run ids do.
        let order = shared.options.run_id_seed.map_or_else(FastHash::default, FastHash::seeded);
        Self {
            shared,
            readers,
            tenure,
            slots: HashMap::with_hasher(order),
            queue: VecDeque::new(),
            to_load: Vec::new(),
            to_append: Vec::new(),
            gathering: Gathering::default(),
            to_settle: Vec::new(),
            is_appending: false,
            admitted: 0,
            admission: VecDeque::new(),
            held_back: Vec::new(),
            starts: None,
            callbacks_in_flight: 0,
            callbacks_waiting: VecDeque::new(),
            wakes: Vec::new(),
            woken: 0,
            taken_over: TakenOver::default(),
            unreadable: HashMap::new(),
            poll: Poll::default(),
            publishes_in_flight: 0,
            verified_at: Timestamp::default(),
            under_way: 0,
            is_draining: false,
            work: FuturesUnordered::new(),
        }
    }

    async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let mut shutdown = std::pin::pin!(shutdown.fuse());
        loop {
            let happening = tokio::select! {
                biased;
                () = &mut shutdown => break,
                happening = self.work.next() => happening,
            };
            if let Err(error) = self.turn(happening) {
                self.drain().await?;
                return Err(error);
            }
        }
        self.drain().await
    }

    /// Takes in what has happened, all of it that is there, and goes on from it.
    fn turn(&mut self, first: Option<Happening>) -> Result<(), Error> {
        let mut next = first;
        while let Some(happening) = next {
            self.happened(happening)?;
            next = self.work.next().now_or_never().flatten();
        }
        self.admit();
        self.wake();
        self.decide_queued();
        self.load_queued();
        self.commit();
        self.settle_queued();
        self.make_room();
        Ok(())
    }

    async fn drain(mut self) -> Result<(), Error> {
        self.is_draining = true;
        for reader in &self.readers {
            reader.subscription.close().await;
        }
        let clock = Arc::clone(&self.shared.clock);
        let mut deadline = clock.sleep(self.shared.options.drain_max);
        self.gather_no_more();
        self.commit();
        while self.under_way > 0 || !self.to_append.is_empty() {
            let happening = tokio::select! {
                biased;
                () = &mut deadline => break,
                happening = self.work.next() => happening,
            };
            self.turn(happening)?;
        }
        self.tenure.end(&self.shared).await;
        Ok(())
    }

    fn happened(&mut self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Read { reader, result } => return self.read(reader, result),
            Happening::Requested { receiver, requests, are_starts } => {
                self.requested(receiver, requests, are_starts);
            }
            Happening::Loaded(loaded) => self.loaded(loaded),
            Happening::Appended(appended) => self.appended(appended),
            Happening::GatheredEnough => self.gathered_enough(),
            Happening::Performed(performed) => self.performed(performed),
            Happening::Settled => self.under_way -= 1,
            Happening::Called(called) => self.called(called),
            Happening::Polled(polled) => self.polled(polled),
            Happening::Renewed(result) => self.renewed(result),
            Happening::Again(keys) => keys.iter().for_each(|key| self.let_go(key)),
            Happening::Reported => self.report_later(),
            Happening::ReportDue => self.report_now(),
        }
        Ok(())
    }

    fn requested(&mut self, receiver: mpsc::Receiver<Addressed>, requests: Vec<Addressed>, are_starts: bool) {
        if are_starts {
            self.admission.extend(requests);
            self.starts = Some(receiver);
            return;
        }
        for (key, input) in requests {
            match input {
                Input::Await(waiter) => self.await_outcome(&key, waiter),
                input => self.input(key, input),
            }
        }
        if !self.is_draining {
            self.work.push(receive(receiver, false));
        }
    }

    /// Who waits for a saga that is not here is told so by dropping the waiter, and looks into the log.
    fn await_outcome(&mut self, key: &SagaKey, waiter: oneshot::Sender<Outcome>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        // What is being appended may yet fail, and tells when it is durable.
        let durable = slot.instance.as_ref().filter(|_| slot.is_durable());
        match durable.and_then(|instance| Outcome::of(instance)) {
            Some(outcome) => {
                let _gone = waiter.send(outcome);
            }
            None => slot.waiters.push(waiter),
        }
    }

    /// Lets starts in while there is room, and reads on when none waits. Replies, undos and wakes never wait for this: they are what makes
    /// room.
    fn admit(&mut self) {
        if self.is_draining {
            return;
        }
        let room = self.room();
        for (key, input) in self.admission.drain(..room.min(self.admission.len())).collect::<Vec<_>>() {
            self.input(key, input);
        }
        if !self.admission.is_empty() {
            return;
        }
        for reader in std::mem::take(&mut self.held_back) {
            self.read_next(reader);
        }
        if let Some(receiver) = self.starts.take() {
            self.work.push(receive(receiver, true));
        }
    }

    /// How many more starts may be let in.
    pub(super) fn room(&self) -> usize {
        self.shared.options.sagas_in_flight_max.saturating_sub(self.admitted)
    }

    /// Gives an input to its saga.
    pub(super) fn input(&mut self, key: SagaKey, input: Input) {
        let slot = self.slots.entry(key.clone()).or_insert_with(Slot::unread);
        slot.inputs.push_back(input);
        self.enqueue(&key);
    }

    /// Queues a saga to be decided, unless it is busy: then that is done when it no longer is.
    pub(super) fn enqueue(&mut self, key: &SagaKey) {
        if let Some(slot) = self.slots.get_mut(key)
            && !slot.is_busy
            && !slot.is_queued
            && !slot.inputs.is_empty()
        {
            slot.is_queued = true;
            self.queue.push_back(key.clone());
        }
    }

    /// Sagas beyond the limit are forgotten, if nothing of them is under way; the log has them.
    fn make_room(&mut self) {
        let max = self.shared.options.sagas_cached_max;
        if self.slots.len() <= max {
            return;
        }
        let excess = self.slots.len() - max + max / 8;
        let idle = self.slots.iter().filter(|(_, slot)| slot.is_idle()).map(|(key, _)| key.clone());
        for key in idle.take(excess).collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    pub(super) fn remove(&mut self, key: &SagaKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.admitted -= usize::from(slot.is_admitted);
        }
    }

    pub(super) fn push(&mut self, work: impl Future<Output = Happening> + Send + 'static) {
        self.work.push(Box::pin(work));
    }

    /// Work that a shutdown waits for. Its happening must lower the count again.
    pub(super) fn push_awaited(&mut self, work: impl Future<Output = Happening> + Send + 'static) {
        self.under_way += 1;
        self.push(work);
    }

    /// The log's time.
    pub(super) fn now(&self) -> Timestamp {
        self.tenure.now(&*self.shared.clock)
    }
}

/// Waits for requests and takes what is there.
fn receive(mut receiver: mpsc::Receiver<Addressed>, are_starts: bool) -> Work {
    Box::pin(async move {
        let mut requests = Vec::new();
        if receiver.recv_many(&mut requests, REQUESTS_MAX).await == 0 {
            // The coordinator itself holds a sender: this cannot happen while it runs.
            std::future::pending::<()>().await;
        }
        Happening::Requested { receiver, requests, are_starts }
    })
}
