use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::edges::{AnnouncementEdge, CancelEdge, ReplyEdge, TriggerEdge};
use crate::contract::Kind;
use crate::ports::{Callback, Group, GroupStart};
use crate::record::{Announcement, DefinitionRef, Ending, Payload, Retry, StepIndex, Topic};

/// How long steps already in flight may still finish once one has failed. No step is dispatched after the first failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Not at all: undoing begins at once.
    FailFast,
    /// Until they answer, or the saga's deadline.
    WaitAll,
    /// This long.
    Grace(Duration),
}

/// [`Grace`](FailurePolicy::Grace) of ten seconds. It ends as soon as all have answered, and what has answered is undone with its
/// output known.
impl Default for FailurePolicy {
    fn default() -> Self {
        Self::Grace(Duration::from_secs(10))
    }
}

/// A saga as the machine sees it: checked, its types erased. Made by [`SagaBuilder::build`](super::SagaBuilder::build).
#[derive(Clone)]
pub struct Definition {
    pub(crate) id: DefinitionRef,
    /// In order of declaration, which is a topological order: a step can only wait for steps declared before it.
    pub(crate) steps: Vec<StepDef>,
    pub(crate) by_name: HashMap<Arc<str>, StepIndex>,
    pub(crate) pivot: Option<StepIndex>,
    pub(crate) policy: FailurePolicy,
    pub(crate) deadline: Option<Duration>,
    pub(crate) replies: Topic,
    /// The CloudEvents source of what its coordinators send.
    pub(crate) source: Arc<str>,
    pub(crate) decode_input: DecodeFn,
    pub(crate) announcements: BTreeMap<Announcement, AnnouncementEdge>,
    pub(crate) callbacks: BTreeMap<Ending, Arc<dyn Callback>>,
    pub(crate) callback_retry: Retry,
    pub(crate) triggers: Vec<TriggerEdge>,
    pub(crate) cancels: Vec<CancelEdge>,
    pub(crate) reply_codec: Option<ReplyEdge>,
}

/// A step of a definition, its types erased.
#[derive(Clone)]
pub(crate) struct StepDef {
    pub(crate) name: Arc<str>,
    pub(crate) contract: &'static str,
    pub(crate) topic: Topic,
    pub(crate) kind: Kind,
    /// The steps it waits for, in the order its input closure takes their outputs.
    pub(crate) after: Vec<StepIndex>,
    /// The steps that wait for it.
    pub(crate) dependents: Vec<StepIndex>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) input: InputFn,
    /// Whether an output can be decoded as what the contract says.
    pub(crate) check_output: fn(&Payload) -> Result<(), String>,
}

/// The saga's input, decoded once for several closures.
pub(crate) type Decoded = Box<dyn Any + Send + Sync>;
pub(crate) type DecodeFn = fn(&Payload) -> Result<Decoded, String>;
pub(crate) type InputFn =
    Arc<dyn Fn(&(dyn Any + Send + Sync), &[&Payload]) -> Result<Payload, String> + Send + Sync>;

/// A closure of the definition failed or panicked.
#[derive(Debug)]
pub(crate) struct Uncomputable(pub(crate) String);

impl Definition {
    /// Its name, version and digest.
    pub const fn id(&self) -> &DefinitionRef {
        &self.id
    }

    /// The group as which its coordinators, of every version, read their topics.
    pub(crate) fn group(&self) -> Group {
        Group { name: format!("{}.coordinator", self.id.name).into(), start: GroupStart::Earliest }
    }

    /// The names of its steps, in order of declaration.
    pub fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| &*step.name)
    }

    /// The step's place, by its name.
    pub fn step_index(&self, name: &str) -> Option<StepIndex> {
        self.by_name.get(name).copied()
    }

    /// The name of a step.
    ///
    /// # Panics
    /// When the definition has no such step.
    pub fn step_name(&self, step: StepIndex) -> &Arc<str> {
        &self.steps[step.at()].name
    }

    /// The same, for people: its number where there is none, as in the record of a version with more steps.
    pub(crate) fn step_label(&self, step: StepIndex) -> Arc<str> {
        let known = self.steps.get(step.at());
        known.map_or_else(|| format!("step number {}", step.0).into(), |known| Arc::clone(&known.name))
    }

    pub(crate) fn step(&self, step: StepIndex) -> &StepDef {
        &self.steps[step.at()]
    }

    pub(crate) fn indices(&self) -> impl DoubleEndedIterator<Item = StepIndex> + use<> {
        (0..u16::try_from(self.steps.len()).expect("build() limits the steps")).map(StepIndex)
    }

    pub(crate) fn decode(&self, input: &Payload) -> Result<Decoded, Uncomputable> {
        guarded("the saga's input", || (self.decode_input)(input))
    }

    /// What the step's input closure makes of the saga's input and the outputs it waits for.
    pub(crate) fn step_input(
        &self,
        step: StepIndex,
        input: &Decoded,
        outputs: &[&Payload],
    ) -> Result<Payload, Uncomputable> {
        let step = self.step(step);
        guarded("the input closure", || (step.input)(&**input, outputs))
    }
}

/// Runs a closure of the user's; a panic is an error like any other.
pub(crate) fn guarded<T>(what: &str, closure: impl FnOnce() -> Result<T, String>) -> Result<T, Uncomputable> {
    match catch_unwind(AssertUnwindSafe(closure)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(Uncomputable(format!("{what} failed: {reason}"))),
        Err(panic) => Err(Uncomputable(format!("{what} panicked: {}", panic_text(&*panic)))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("id", &self.id)
            .field("steps", &self.steps)
            .field("policy", &self.policy)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StepDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepDef")
            .field("name", &self.name)
            .field("contract", &self.contract)
            .field("kind", &self.kind)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
