use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::inbox::{ClaimToken, Completed, Effects};
use crate::error::chain;
use crate::record::{Action, Payload, RunId, SagaKey, Topic};
use crate::wire::{Headers, Message};

/// A participant's side of a step: doing it.
///
/// # Contract
/// - Deliveries are at least once. The barrier keeps a step that was done from running again; an attempt that was cut off in the
///   middle does run again, with the same [`StepContext::idempotency_key`].
/// - `Err` from `?` means try again later; [`StepError::reject`] means refused and without effect; [`StepError::fail`] means given up,
///   perhaps with an effect.
/// - It is cut off, as a retry, when its claim is about to run out ([`StepContext::time_limit`]). A panic is a failed attempt.
/// - The future may be dropped at any await. It must not block its thread.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not execute a step that takes `{Input}` and returns `{Output}`",
    label = "needs `impl Step<{Input}, {Output}>`",
    note = "write `#[async_trait] impl saga::Step<{Input}, {Output}> for …`, or pass `saga::handler(|input: {Input}, ctx| async move {{ … }})`"
)]
pub trait Step<Input: Send + 'static, Output: Send + 'static>: Send + Sync {
    /// Does the step.
    ///
    /// # Errors
    /// See the contract above.
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError>;

    /// Where it has its effects. [`Effects::InTransaction`] is a promise: whatever it does is in the transaction of the barrier's row, under
    /// the claim of [`StepContext::claim`], and committed together with the verdict. What `saga-sql` makes of a closure keeps it.
    ///
    /// A wrapper that does not hand this on loses nothing but the advantage.
    fn effects(&self) -> Effects {
        Effects::Anywhere
    }
}

/// A participant's side of a step: undoing it.
///
/// # Contract
/// - It must be safe when nothing had happened: it is called with `output: None` whenever nobody knows whether the step had an
///   effect.
/// - It is called again until it succeeds or the round's attempts are spent, and may be called again after it succeeded if an
///   overtaken attempt of the step came back late.
/// - Errors, cut-offs, panics and dropping are as for [`Step`]; a rejection counts as a failed attempt, since an undo cannot be
///   refused.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` serves a compensatable contract but does not say how to undo it",
    label = "needs `impl Compensation<{Input}, {Output}>`",
    note = "write `#[async_trait] impl saga::Compensation<{Input}, {Output}> for …`, add `.undo(|undo, ctx| async move {{ … }})` to the handler, or declare the contract `Contract<{Input}, {Output}, NoUndo>`"
)]
pub trait Compensation<Input: Send + 'static, Output: Send + 'static>: Send + Sync {
    /// Undoes the step.
    ///
    /// # Errors
    /// Any error is a failed attempt.
    async fn undo(&self, undo: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError>;
}

/// What is to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo<Input, Output> {
    /// What the step was given.
    pub input: Input,
    /// What it returned; `None` when it is not known whether it had an effect.
    pub output: Option<Output>,
}

/// Why an attempt did not succeed.
///
/// Any `std::error::Error` becomes one by `?`, and means: try again.
pub struct StepError {
    pub(crate) kind: StepErrorKind,
    pub(crate) reason: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepErrorKind {
    Retry { after: Option<Duration> },
    Reject,
    Fail,
}

impl StepError {
    /// Refused, and this attempt had no effect. The saga unwinds without undoing this step, unless an earlier attempt may have
    /// had one.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self { kind: StepErrorKind::Reject, reason: reason.to_string(), source: None }
    }

    /// Given up; there may have been an effect. The saga unwinds and undoes this step too.
    pub fn fail(reason: impl fmt::Display) -> Self {
        Self { kind: StepErrorKind::Fail, reason: reason.to_string(), source: None }
    }

    /// To be tried again after the backoff.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self { kind: StepErrorKind::Retry { after: None }, reason: reason.to_string(), source: None }
    }

    /// To be tried again no sooner than `after`.
    pub fn retry_after(after: Duration, reason: impl fmt::Display) -> Self {
        Self { kind: StepErrorKind::Retry { after: Some(after) }, reason: reason.to_string(), source: None }
    }

    /// What caused it, if it came by `?`.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

/// Any error means: try again.
impl<E: StdError + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self {
            kind: StepErrorKind::Retry { after: None },
            reason: chain(&error),
            source: Some(Box::new(error)),
        }
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.reason)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Which command a handler is serving.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepContext {
    /// The saga: its definition's name and the user's id.
    pub saga: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// The step's name.
    pub step: Arc<str>,
    /// What is asked: [`Action::Execute`] or [`Action::Undo`].
    pub action: Action,
    /// The round, from 1; an operator's `retry` begins a new one.
    pub round: u32,
    /// Which attempt of this round, from 1, as the barrier counts them.
    pub attempt: u32,
    /// After this long the attempt is cut off.
    pub time_limit: Duration,
    /// The W3C trace context of the saga.
    pub traceparent: Option<Arc<str>>,
    /// The claim of the barrier under which this attempt runs; `None` in a test that calls a handler by itself.
    pub claim: Option<ClaimToken>,
    /// What the barrier said to a handler that completed the claim itself.
    pub(crate) completed: Option<Arc<OnceLock<Completed>>>,
}

impl StepContext {
    /// The first attempt of the first round, outside any trace, with a time limit of 30 s; set the fields that are to differ. For tests of a
    /// handler of your own.
    pub fn new(saga: SagaKey, run: RunId, step: impl Into<Arc<str>>, action: Action) -> Self {
        let time_limit = Duration::from_secs(30);
        Self {
            saga,
            run,
            step: step.into(),
            action,
            round: 1,
            attempt: 1,
            time_limit,
            traceparent: None,
            claim: None,
            completed: None,
        }
    }

    /// A key that is the same for every attempt to execute this step, and another one that is the same for every attempt to undo
    /// it. Give it to an outside system that deduplicates by key.
    ///
    /// Where such a system is used without the barrier's transaction, it must refuse the execute key once it has seen the
    /// undo key.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.run, self.step, self.action)
    }

    /// Says that this attempt's claim was completed in the handler's own transaction, which has been committed, and what the barrier said. The
    /// participant then answers with that and does not complete the claim again. For those who write handlers over a database of their own;
    /// it counts only where [`Step::effects`] says so.
    pub fn completed(&self, completed: Completed) {
        if let Some(slot) = &self.completed {
            // Said twice, the first counts: it was committed first.
            let _second = slot.set(completed);
        }
    }

    /// A message of the handler's own that carries on the saga's key and trace context.
    pub fn message(&self, topic: Topic, payload: Payload) -> Message {
        let mut message = Message::new(topic, payload).keyed(self.saga.id.shared());
        if let Some(traceparent) = &self.traceparent {
            message.headers = Headers::from_iter([(crate::wire::attributes::TRACEPARENT, &**traceparent)]);
        }
        message
    }
}

#[cfg(any(test, feature = "mock"))]
mockall::mock! {
    /// A [`Step`] with expectations.
    pub Step<Input: Send + Sync + 'static, Output: Send + Sync + 'static> {}

    #[async_trait]
    impl<Input: Send + Sync + 'static, Output: Send + Sync + 'static> Step<Input, Output> for Step<Input, Output> {
        async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError>;
    }
}

#[cfg(any(test, feature = "mock"))]
mockall::mock! {
    /// A [`Compensation`] with expectations.
    pub Compensation<Input: Send + Sync + 'static, Output: Send + Sync + 'static> {}

    #[async_trait]
    impl<Input: Send + Sync + 'static, Output: Send + Sync + 'static> Compensation<Input, Output>
        for Compensation<Input, Output>
    {
        async fn undo(&self, undo: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError>;
    }
}
