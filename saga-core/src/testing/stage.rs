//! The participants of a harness: each contract's handler, written down as it works, and replaceable while it is served.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::recorder::Recorder;
use crate::contract::Contract;
use crate::error::Error;
use crate::memory::lock;
use crate::participant::{Attempt, Participant, ServeOptions, ServedBy};
use crate::ports::{Compensation, Step, StepContext, StepError, StepErrorKind, Undo};
use crate::record::RunId;

/// What plays a contract's part, and how it is put on a participant.
pub(super) struct Part {
    pub(super) topic: &'static str,
    role: Box<dyn Any + Send + Sync>,
    serve: Box<Serve>,
}

type Serve = dyn Fn(&mut Participant) -> Result<(), Error> + Send + Sync;

impl Part {
    pub(super) fn new<Input, Output, K, H>(
        contract: &Contract<Input, Output, K>,
        handler: H,
        options: ServeOptions,
        recorder: &Arc<Recorder>,
    ) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        let actor = actor(contract, handler);
        let role = Arc::new(Role { actor: Mutex::new(actor), recorder: Arc::clone(recorder) });
        // A role can always be asked to undo; what its handler cannot, the handler's own kind says.
        let as_served = Contract::<Input, Output>::new(contract.name()).on_topic(contract.topic());
        let served = Arc::clone(&role);
        Self {
            topic: contract.topic(),
            role: Box::new(role),
            serve: Box::new(move |participant| {
                participant.serve(&as_served, Arc::clone(&served), options.clone())
            }),
        }
    }

    pub(super) fn serve(&self, participant: &mut Participant) -> Result<(), Error> {
        (self.serve)(participant)
    }

    /// Lets another handler play the part from now on; `None` when its types are others.
    pub(super) fn recast<Input, Output, K, H>(
        &self,
        contract: &Contract<Input, Output, K>,
        handler: H,
    ) -> Option<()>
    where
        Input: Send + 'static,
        Output: Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        let role = self.role.downcast_ref::<Arc<Role<Input, Output>>>()?;
        *lock(&role.actor) = actor(contract, handler);
        Some(())
    }
}

/// A part that a handler plays.
struct Role<Input, Output> {
    actor: Mutex<Arc<dyn Actor<Input, Output>>>,
    recorder: Arc<Recorder>,
}

/// A handler together with the kind of contract it serves.
trait Actor<Input, Output>: Send + Sync {
    fn execute<'a>(&'a self, input: Input, ctx: &'a StepContext) -> Attempt<'a, Output>
    where
        Input: 'a,
        Output: 'a;

    fn undo<'a>(&'a self, undo: Undo<Input, Output>, ctx: &'a StepContext) -> Attempt<'a, ()>
    where
        Input: 'a,
        Output: 'a;
}

struct Cast<H, K> {
    handler: H,
    kind: PhantomData<fn(K)>,
}

fn actor<Input, Output, K, H>(_: &Contract<Input, Output, K>, handler: H) -> Arc<dyn Actor<Input, Output>>
where
    Input: Send + 'static,
    Output: Send + 'static,
    K: ServedBy<H, Input, Output>,
    H: Send + Sync + 'static,
{
    Arc::new(Cast::<H, K> { handler, kind: PhantomData })
}

impl<Input, Output, K, H> Actor<Input, Output> for Cast<H, K>
where
    K: ServedBy<H, Input, Output>,
    H: Send + Sync,
{
    fn execute<'a>(&'a self, input: Input, ctx: &'a StepContext) -> Attempt<'a, Output>
    where
        Input: 'a,
        Output: 'a,
    {
        K::execute(&self.handler, input, ctx)
    }

    fn undo<'a>(&'a self, undo: Undo<Input, Output>, ctx: &'a StepContext) -> Attempt<'a, ()>
    where
        Input: 'a,
        Output: 'a,
    {
        K::undo(&self.handler, undo, ctx)
    }
}

#[async_trait]
impl<Input: Send + 'static, Output: Send + 'static> Step<Input, Output> for Role<Input, Output> {
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError> {
        let actor = Arc::clone(&lock(&self.actor));
        let call = Call::begin(&self.recorder, ctx);
        call.end(actor.execute(input, ctx).await)
    }
}

#[async_trait]
impl<Input: Send + 'static, Output: Send + 'static> Compensation<Input, Output> for Role<Input, Output> {
    async fn undo(&self, undo: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError> {
        let actor = Arc::clone(&lock(&self.actor));
        let call = Call::begin(&self.recorder, ctx);
        call.end(actor.undo(undo, ctx).await)
    }
}

/// A call under way. Dropped before its end, it says so.
struct Call<'a> {
    recorder: &'a Recorder,
    ctx: &'a StepContext,
    has_ended: bool,
}

impl<'a> Call<'a> {
    const fn begin(recorder: &'a Recorder, ctx: &'a StepContext) -> Self {
        Self { recorder, ctx, has_ended: false }
    }

    fn end<T>(mut self, result: Result<T, StepError>) -> Result<T, StepError> {
        self.has_ended = true;
        let text = match &result {
            Ok(_) => "done".to_owned(),
            Err(error) => match error.kind {
                StepErrorKind::Reject => format!("rejected: {error}"),
                StepErrorKind::Fail => format!("failed: {error}"),
                StepErrorKind::Retry { .. } => format!("error: {error}"),
            },
        };
        self.note(&text);
        if result.is_ok() {
            self.recorder.took_effect(self.run(), &self.ctx.step, self.ctx.action);
        }
        result
    }

    fn note(&self, end: &str) {
        let StepContext { step, action, attempt, .. } = self.ctx;
        self.recorder.handled(self.run(), step, *action, *attempt, end);
    }

    const fn run(&self) -> RunId {
        self.ctx.run
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.note(if std::thread::panicking() { "panicked" } else { "cut off" });
        }
    }
}
