use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::callback::{ScriptSlot, with_recorded_callbacks};
use super::fault::{Fault, Plan};
use super::recorder::Recorder;
use super::run::Run;
use super::script::Script;
use super::stage::Part;
use super::timeline::Timeline;
use super::world::World;
use crate::contract::{Contract, StepKind};
use crate::coordinator::{CoordinatorOptions, Sagas, Started};
use crate::definition::Saga;
use crate::memory::Faults;
use crate::participant::{ServeOptions, ServedBy};
use crate::ports::{Callback, DeadLetter, EventBus, Published};
use crate::record::SagaId;
use crate::wire::Message;

/// How much virtual time a saga gets to come out, unless told otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many lines of a timeline stand in a panic.
const LINES_SHOWN: usize = 60;

/// A whole saga in memory: a coordinator, participants, a bus and a log, under virtual time. See the [module](super).
///
/// Everything of it ends when it is dropped.
pub struct Harness<In> {
    saga: Saga<In>,
    time_limit: Duration,
    parts: Vec<Part>,
    plan: Arc<Plan>,
    recorder: Arc<Recorder>,
    callback: Arc<ScriptSlot>,
    world: World<In>,
}

impl<In: Serialize + DeserializeOwned + Send + Sync + 'static> Harness<In> {
    /// A harness for this saga. Its steps are still to be played: see [`serve`](Self::serve) and [`script`](Self::script).
    ///
    /// # Panics
    /// When tokio's time is not paused: the test must be `#[tokio::test(start_paused = true)]`.
    #[must_use]
    pub fn new(saga: &Saga<In>) -> Self {
        assert_time_is_paused();
        let recorder = Arc::new(Recorder::new(Arc::clone(saga.definition())));
        let plan = Arc::new(Plan::default());
        let callback = Arc::new(ScriptSlot::default());
        let saga = with_recorded_callbacks(saga, &callback, &recorder);
        let world = World::new(&plan, &recorder);
        Self { saga, time_limit: TIME_LIMIT, parts: Vec::new(), plan, recorder, callback, world }
    }

    /// Starts a saga and goes on until it has ended and everyone who is to be told has been, or until it is parked.
    ///
    /// # Panics
    /// When it cannot be started, or has not come out within the [time limit](Self::time_limit): the panic shows its timeline.
    pub async fn run(&mut self, id: &str, input: &In) -> Run {
        self.start(id, input).await;
        self.finish(id).await
    }

    /// Starts a saga, and leaves it running: time passes only while the test waits, for example in [`advance`](Self::advance).
    ///
    /// # Panics
    /// When it cannot be started, for example because the id is taken by another input.
    pub async fn start(&mut self, id: &str, input: &In) -> Started {
        match self.sagas().start(id, input).await {
            Ok(started) => started,
            Err(error) => {
                panic!("saga {:?} cannot be started under the id {id:?}: {error}", self.saga.name())
            }
        }
    }

    /// Goes on until a saga has come out: one that was started by [`start`](Self::start) or by a message on a trigger topic. After an
    /// operator's `retry` of a parked saga, call it again.
    ///
    /// # Panics
    /// When it has not come out within the [time limit](Self::time_limit): the panic shows its timeline.
    pub async fn finish(&mut self, id: &str) -> Run {
        let saga_id = SagaId::new(id).unwrap_or_else(|invalid| panic!("{invalid}"));
        let over = async {
            loop {
                let changed = self.recorder.changed.notified();
                if self.recorder.is_over(&saga_id) {
                    return;
                }
                changed.await;
            }
        };
        let problem = tokio::select! {
            biased;
            () = over => None,
            problem = self.world.broken() => Some(problem),
            () = tokio::time::sleep(self.time_limit) => {
                Some(format!("it has not come out within {:?} of virtual time", self.time_limit))
            }
        };
        if let Some(problem) = problem {
            let timeline = self.timeline(id).tail(LINES_SHOWN);
            panic!(
                "saga {:?} of the id {id:?}: {problem}{}\n{timeline}",
                self.saga.name(),
                self.world.absent()
            );
        }
        self.quiesce().await;
        let notebook = self.recorder.notebook(&saga_id);
        let run = notebook.and_then(|notebook| Run::read(notebook, self.saga.definition()));
        run.expect("a saga that is over has come out")
    }

    /// A handle to see and operate the sagas: `cancel`, `retry`, `resolve`, `abandon`, `status`, `list`.
    ///
    /// It belongs to the coordinator of now; ask for another one after a crash.
    ///
    /// # Panics
    /// When a step has nobody to play it, or the coordinator is down.
    pub fn sagas(&mut self) -> Sagas<In> {
        self.begin();
        self.world
            .sagas()
            .unwrap_or_else(|| panic!("the coordinator is down: call `restart_coordinator` first"))
    }

    /// Publishes a message from outside, for example on a trigger or cancel topic of the saga.
    ///
    /// # Panics
    /// When the bus refuses it, for example because the saga does not use the topic.
    pub async fn publish(&mut self, message: Message) {
        self.begin();
        // The topics are declared first.
        self.quiesce().await;
        let published = self.world.bus.publish(vec![message]).await;
        assert!(matches!(published[..], [Published::Acked]), "the message was not published: {published:?}");
    }

    /// Drops the coordinator as a crash of its process would: without finishing anything. The log and the bus stay.
    pub async fn crash_coordinator(&mut self) {
        self.begin();
        if self.world.stop_coordinator().await {
            self.recorder.note_for_all("coordinator crashed");
        }
    }

    /// Starts the coordinator again, on the same log, under the same name; crashes it first if it is running.
    pub async fn restart_coordinator(&mut self) {
        self.crash_coordinator().await;
        self.recorder.note_for_all("coordinator restarted");
        self.world.start_coordinator(&self.saga);
    }

    /// Drops the participants as a crash of their process would: handlers are dropped where they stand. The inbox and the bus stay.
    pub async fn crash_participants(&mut self) {
        self.begin();
        if self.world.stop_participants().await {
            self.recorder.note_for_all("participants crashed");
        }
    }

    /// Starts the participants again, on the same inbox; crashes them first if they are running.
    pub async fn restart_participants(&mut self) {
        self.crash_participants().await;
        self.recorder.note_for_all("participants restarted");
        self.world.start_participants(&self.parts);
    }

    fn begin(&mut self) {
        if !self.world.has_begun {
            self.check_parts();
            self.world.has_begun = true;
            self.world.start_coordinator(&self.saga);
            self.world.start_participants(&self.parts);
        }
    }
}

impl<In> Harness<In> {
    /// Serves a contract with a handler, the real one for example. Steps of one contract share it.
    ///
    /// Served again, also between runs, the new handler takes over from the next attempt on.
    ///
    /// # Panics
    /// When the first saga was started and the contract was not served before.
    pub fn serve<Input, Output, K, H>(
        &mut self,
        contract: &Contract<Input, Output, K>,
        handler: H,
    ) -> &mut Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        self.serve_with(contract, handler, ServeOptions::default())
    }

    /// Serves a contract with other limits than the usual ones. A contract that is served already keeps the limits it has.
    ///
    /// # Panics
    /// As for [`serve`](Self::serve).
    pub fn serve_with<Input, Output, K, H>(
        &mut self,
        contract: &Contract<Input, Output, K>,
        handler: H,
        options: ServeOptions,
    ) -> &mut Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        let topic = contract.topic();
        if let Some(part) = self.parts.iter().find(|part| part.topic == topic) {
            let recast = part.recast(contract, handler);
            assert!(recast.is_some(), "topic {topic} is served already, by a contract of other types");
            return self;
        }
        assert!(!self.world.has_begun, "serve {contract:?} before the first saga is started");
        self.parts.push(Part::new(contract, handler, options, &self.recorder));
        self
    }

    /// Serves a contract with a scripted participant.
    ///
    /// # Panics
    /// As for [`serve`](Self::serve).
    pub fn script<Input, Output, K>(
        &mut self,
        contract: &Contract<Input, Output, K>,
        script: Script<Output>,
    ) -> &mut Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        K: StepKind,
    {
        // A script can always undo, whatever the contract's kind asks for.
        let any_kind = Contract::<Input, Output>::new(contract.name()).on_topic(contract.topic());
        self.serve(&any_kind, script)
    }

    /// From now on this goes wrong with the messages of a step; several faults of one step add up.
    ///
    /// # Panics
    /// When the saga has no step of that name.
    pub fn fault(&mut self, step: &str, fault: Fault) -> &mut Self {
        let definition = self.saga.definition();
        let steps = definition.step_names().collect::<Vec<_>>();
        assert!(steps.contains(&step), "saga {:?} has no step {step:?}; it has {steps:?}", self.saga.name());
        self.plan.add(step, fault);
        self
    }

    /// From now on these faults strike all messages at random, by their seed.
    pub fn bus_faults(&mut self, faults: Faults) -> &mut Self {
        self.world.memory.set_faults(faults);
        self
    }

    /// Nothing goes wrong on the bus any more.
    pub fn heal(&mut self) -> &mut Self {
        self.plan.clear();
        self.bus_faults(Faults::none())
    }

    /// From now on this answers in place of the saga's own callbacks. A callback that speaks to a real server belongs replaced: virtual
    /// time does not wait for it.
    pub fn callback(&mut self, callback: impl Callback + 'static) -> &mut Self {
        *crate::memory::lock(&self.callback) = Some(Arc::new(callback));
        self
    }

    /// Run ids, and with them the jitter of retries, follow from this number, for coordinators that are started from now on. The same
    /// seed gives the same run. Default 0.
    pub const fn seed(&mut self, seed: u64) -> &mut Self {
        self.world.seed = seed;
        self
    }

    /// Changes the limits and intervals of coordinators that are started from now on.
    pub fn coordinator_options(&mut self, change: impl FnOnce(&mut CoordinatorOptions)) -> &mut Self {
        change(&mut self.world.options);
        self
    }

    /// How much virtual time [`run`](Self::run) and [`finish`](Self::finish) give a saga to come out. Default 7 days.
    pub const fn time_limit(&mut self, time_limit: Duration) -> &mut Self {
        self.time_limit = time_limit;
        self
    }

    /// Lets this much virtual time pass, with all that happens in it.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// What has happened so far to the latest saga of this id; empty when there was none.
    pub fn timeline(&self, id: &str) -> Timeline {
        let notebook = SagaId::new(id).ok().and_then(|id| self.recorder.notebook(&id));
        notebook.map(|notebook| notebook.timeline).unwrap_or_default()
    }

    /// All dead letters so far, in order.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.recorder.dead_letters()
    }

    /// The bus, for handlers that publish messages of their own.
    pub fn bus(&self) -> Arc<dyn EventBus> {
        Arc::clone(&self.world.bus)
    }

    /// Lets everything happen that needs no time: virtual time only moves when nothing else can.
    async fn quiesce(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn check_parts(&self) {
        let definition = self.saga.definition();
        for step in &definition.steps {
            assert!(
                self.parts.iter().any(|part| *part.topic == *step.topic.as_str()),
                "nobody plays step {:?}: call `harness.serve` or `harness.script` with the contract {:?}",
                step.name,
                step.contract,
            );
        }
    }
}

impl<In> fmt::Debug for Harness<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("saga", self.saga.id()).finish_non_exhaustive()
    }
}

/// Under real time a test would really wait an hour for a deadline of an hour.
fn assert_time_is_paused() {
    let before = tokio::time::Instant::now();
    std::thread::sleep(Duration::from_micros(100));
    assert!(
        before == tokio::time::Instant::now(),
        "the harness needs virtual time: use #[tokio::test(start_paused = true)], with tokio's feature \"test-util\""
    );
}
