use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::after::{After, StepRef, decode};
use super::build_error::{BuildError, Fault, Problem};
use super::draft::{Draft, StepDraft};
use super::edges::{
    AnnouncementEdge, CancelEdge, CancelRequest, ForeignReply, ReplyEdge, StartRequest, TriggerEdge,
    announcement_body, guarded_codec, start_by_subject, typed_start,
};
use super::erased::{Decoded, FailurePolicy, InputFn};
use super::saga::Saga;
use crate::contract::{Contract, StepKind};
use crate::ports::{Callback, Ended};
use crate::record::{Announcement, Ending, Payload, Retry};
use crate::wire::Message;

/// What a user's codec fails with: `?` takes any error, and `Err("no order_id".into())` says it in words.
pub type CodecError = Box<dyn StdError + Send + Sync>;

/// A saga being built: made by [`Saga::builder`], done by [`build`](Self::build).
///
/// Its methods never fail. Whatever is wrong is collected and reported by `build`, all at once.
pub struct SagaBuilder<In> {
    draft: Draft,
    id: u64,
    input: PhantomData<fn(In)>,
}

impl<In: Serialize + DeserializeOwned + Send + Sync + 'static> SagaBuilder<In> {
    pub(super) fn new(name: &str, version: u32) -> Self {
        // Only tells builders of one process apart, so that a handle of another one is noticed.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let draft = Draft {
            name: name.into(),
            version,
            steps: Vec::new(),
            policy: FailurePolicy::default(),
            deadline: None,
            replies: format!("{name}.replies").into(),
            decode_input: |input| Ok(Box::new(decode::<In>(input)?) as Decoded),
            announcements: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            callback_retry: CALLBACK_RETRY,
            triggers: Vec::new(),
            cancels: Vec::new(),
            reply_codec: None,
            problems: Vec::new(),
        };
        Self { draft, id: NEXT.fetch_add(1, Ordering::Relaxed), input: PhantomData }
    }

    /// Adds a step that waits for nothing: such steps start at once, in parallel. `input` makes what the step is given from the saga's
    /// input.
    ///
    /// The step has its contract's name; a second step on the same contract needs another one: [`configure`](Self::configure)`(&step)
    /// .named(…)`.
    ///
    /// `input` must depend on nothing but its arguments. What it returns is recorded when the step is dispatched; should it panic, the
    /// saga is parked.
    pub fn step<Input, Output, K>(
        &mut self,
        contract: &Contract<Input, Output, K>,
        input: impl Fn(&In) -> Input + Send + Sync + 'static,
    ) -> StepRef<Output>
    where
        Input: Serialize,
        Output: DeserializeOwned,
        K: StepKind,
    {
        self.push(contract, Vec::new(), Arc::new(move |saga, _| encode(&input(typed(saga)))))
    }

    /// Adds a step that starts when all it waits for are done. `input` also takes what they returned, by value: one output, a tuple, or a
    /// `Vec` (see [`After`]).
    ///
    /// Otherwise like [`step`](Self::step).
    pub fn step_after<A, Input, Output, K>(
        &mut self,
        after: A,
        contract: &Contract<Input, Output, K>,
        input: impl Fn(&In, A::Outputs) -> Input + Send + Sync + 'static,
    ) -> StepRef<Output>
    where
        A: After,
        Input: Serialize,
        Output: DeserializeOwned,
        K: StepKind,
    {
        let closure: InputFn = Arc::new(move |saga, outputs| encode(&input(typed(saga), A::read(outputs)?)));
        self.push(contract, after.handles(), closure)
    }

    /// Sets a step's name, deadline and retry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use saga_core::{Contract, Saga, record::Retry};
    /// # const PAYMENT: Contract<u64, ()> = Contract::new("payment");
    /// # let mut saga = Saga::<u64>::builder("checkout", 1);
    /// let deposit = saga.step(&PAYMENT, |cents| cents / 10);
    /// let rest = saga.step_after(&deposit, &PAYMENT, |cents, ()| cents - cents / 10);
    /// saga.configure(&deposit).deadline(Duration::from_secs(30)).retry(Retry::DEFAULT.attempts(3));
    /// saga.configure(&rest).named("payment-of-the-rest");
    /// # saga.build().unwrap();
    /// ```
    pub fn configure<Output>(&mut self, step: &StepRef<Output>) -> StepOptions<'_> {
        let place = self.place(&step.untyped());
        if place.is_none() {
            let foreign = Fault::ForeignHandle { contract: step.contract };
            self.draft.problems.push(Problem::of_saga(foreign));
        }
        StepOptions { step: place.map(|at| &mut self.draft.steps[at]) }
    }

    /// By when the saga must have completed, counted from its start; then it unwinds. From the dispatch of a pivot on, it only alerts.
    pub fn deadline(&mut self, deadline: Duration) -> &mut Self {
        self.draft.deadline = Some(deadline);
        self
    }

    /// How long steps in flight may still finish once one has failed. Ten seconds, unless set.
    pub fn on_first_failure(&mut self, policy: FailurePolicy) -> &mut Self {
        self.draft.policy = policy;
        self
    }

    /// The topic on which participants answer: `{name}.replies`, unless set. All coordinators of the saga read it.
    ///
    /// Where several coordinators share a log, give each a topic of its own, under a name that stays when it is restarted: replies then come to
    /// the coordinator that has the saga in memory. The topic is no part of the definition's digest.
    pub fn replies_to(&mut self, topic: &str) -> &mut Self {
        self.draft.replies = topic.into();
        self
    }

    /// Starts the saga for every message on `topic`, as `codec` reads it. A message it refuses goes to the dead letters.
    ///
    /// ```
    /// # use saga_core::{Contract, Saga, definition::StartRequest};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { order_id: String }
    /// # let mut saga = Saga::<Order>::builder("checkout", 1);
    /// saga.trigger("order-placed", |message| {
    ///     let order: Order = message.payload.parse()?;
    ///     Ok(StartRequest { id: order.order_id.parse()?, input: order })
    /// });
    /// ```
    pub fn trigger(
        &mut self,
        topic: &str,
        codec: impl Fn(&Message) -> Result<StartRequest<In>, CodecError> + Send + Sync + 'static,
    ) -> &mut Self {
        self.add_trigger(topic, false, codec)
    }

    fn add_trigger(
        &mut self,
        topic: &str,
        is_default: bool,
        codec: impl Fn(&Message) -> Result<StartRequest<In>, CodecError> + Send + Sync + 'static,
    ) -> &mut Self {
        let topic = self.draft.topic(topic);
        let edge = topic.map(|topic| TriggerEdge { topic, codec: typed_start(codec), is_default });
        self.draft.triggers.extend(edge);
        self
    }

    /// Starts the saga for every message on `topic`: its payload is the input as JSON; its CloudEvents `subject`, or without one its key,
    /// is the saga's id. [`Saga::start_message`] makes such messages.
    pub fn trigger_default(&mut self, topic: &str) -> &mut Self {
        self.add_trigger(topic, true, start_by_subject)
    }

    /// Cancels sagas by messages on `topic`, as `codec` reads them. A message it refuses goes to the dead letters.
    ///
    /// The topic may be one that the saga announces on: an announcement read back comes too late to cancel its own saga.
    pub fn cancel_on(
        &mut self,
        topic: &str,
        codec: impl Fn(&Message) -> Result<CancelRequest, CodecError> + Send + Sync + 'static,
    ) -> &mut Self {
        let edge = self.draft.topic(topic).map(|topic| CancelEdge { topic, codec: guarded_codec(codec) });
        self.draft.cancels.extend(edge);
        self
    }

    /// Reads replies that carry no attributes, from participants that know nothing of this library. A message it refuses goes to the
    /// dead letters.
    pub fn reply_codec(
        &mut self,
        codec: impl Fn(&Message) -> Result<ForeignReply, CodecError> + Send + Sync + 'static,
    ) -> &mut Self {
        if self.draft.reply_codec.replace(ReplyEdge { codec: guarded_codec(codec) }).is_some() {
            self.draft.problems.push(Problem::of_saga(Fault::ReplyCodecTwice));
        }
        self
    }

    /// Publishes a message when the saga reaches a point. `body` makes its payload, of the saga's input and what has become of it. It is
    /// published at least once, with the same id every time.
    pub fn announce<Body: Serialize>(
        &mut self,
        when: Announcement,
        topic: &str,
        body: impl Fn(&In, &Ended) -> Body + Send + Sync + 'static,
    ) -> &mut Self {
        if let Some(topic) = self.draft.topic(topic) {
            let edge = AnnouncementEdge { topic, body: announcement_body(body) };
            if self.draft.announcements.insert(when, edge).is_some() {
                self.draft.problems.push(Problem::of_saga(Fault::AnnouncedTwice(when)));
            }
        }
        self
    }

    /// Calls `callback` when the saga has ended so: at least once, until its answer is recorded.
    pub fn callback(&mut self, when: Ending, callback: Arc<dyn Callback>) -> &mut Self {
        if self.draft.callbacks.insert(when, callback).is_some() {
            self.draft.problems.push(Problem::of_saga(Fault::CalledBackTwice(when)));
        }
        self
    }

    /// How callbacks are tried again: without end, 500 ms to 30 s apart, unless set. Once the attempts are spent it counts as refused:
    /// alerting, until an operator's `retry`.
    pub fn callback_retry(&mut self, retry: Retry) -> &mut Self {
        self.draft.callback_retry = retry;
        self
    }

    /// The saga, if it could run.
    ///
    /// # Errors
    /// [`BuildError`] lists everything that is wrong with it, each with its step and what to write instead.
    pub fn build(self) -> Result<Saga<In>, BuildError> {
        self.draft.finish().map(Saga::new)
    }

    fn push<Input, Output: DeserializeOwned, K: StepKind>(
        &mut self,
        contract: &Contract<Input, Output, K>,
        handles: Vec<StepRef<()>>,
        input: InputFn,
    ) -> StepRef<Output> {
        let (name, at) = (contract.name(), self.draft.steps.len());
        let mut after = Vec::with_capacity(handles.len());
        for handle in handles {
            match self.place(&handle) {
                Some(earlier) => after.push(earlier),
                None => {
                    let foreign = Fault::ForeignHandle { contract: handle.contract };
                    self.draft.problems.push(Problem::of_step(&name.into(), foreign));
                }
            }
        }
        self.draft.steps.push(StepDraft {
            name: name.into(),
            contract: name,
            topic: contract.topic(),
            kind: contract.kind(),
            after,
            deadline: None,
            retry: None,
            input,
            check_output: |output| decode::<Output>(output).map(drop),
        });
        StepRef { builder: self.id, at, contract: name, output: PhantomData }
    }

    fn place(&self, handle: &StepRef<()>) -> Option<usize> {
        (handle.builder == self.id).then_some(handle.at)
    }
}

impl<In> fmt::Debug for SagaBuilder<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.draft.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("SagaBuilder")
            .field("name", &self.draft.name)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

/// The options of one step, from [`SagaBuilder::configure`].
pub struct StepOptions<'a> {
    step: Option<&'a mut StepDraft>,
}

impl StepOptions<'_> {
    /// Another name than the contract's, to tell steps on one contract apart.
    pub fn named(self, name: &str) -> Self {
        self.set(|step| step.name = name.into())
    }

    /// By when the step must have answered, counted from its dispatch; then it counts as failed, perhaps with an effect.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.set(|step| step.deadline = Some(deadline))
    }

    /// How its participant is to retry, in place of the participant's own setting.
    pub fn retry(self, retry: Retry) -> Self {
        self.set(|step| step.retry = Some(retry))
    }

    fn set(mut self, change: impl FnOnce(&mut StepDraft)) -> Self {
        self.step.as_deref_mut().map(change);
        self
    }
}

impl fmt::Debug for StepOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepOptions").field("step", &self.step.as_ref().map(|step| &step.name)).finish()
    }
}

const CALLBACK_RETRY: Retry = Retry::FOREVER.delays(Duration::from_millis(500), Duration::from_secs(30));

fn typed<In: 'static>(saga: &(dyn Any + Send + Sync)) -> &In {
    saga.downcast_ref().expect("the definition decodes its own input")
}

fn encode<Input: Serialize>(input: &Input) -> Result<Payload, String> {
    Payload::json(input)
        .map_err(|error| format!("its {} cannot be written as JSON: {error}", type_name::<Input>()))
}
