//! One call of the user's code: its time limit, its panics, its span.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::Instrument;

use super::receive::Job;
use super::{Handler, HandlerError};
use crate::definition::panic_text;
use crate::ports::{ClaimToken, Clock, Completed, Effects, StepContext, StepError};
use crate::record::{Action, Payload};

/// What is to be run: a command with the claim that the barrier gave for it.
pub(super) struct Errand {
    pub(super) job: Box<Job>,
    pub(super) token: ClaimToken,
    /// Not always the command's own: a step is also undone once more by a command to execute.
    pub(super) action: Action,
    pub(super) attempt: u32,
    /// What the barrier said, if the handler has completed the claim itself.
    pub(super) completed: Option<Arc<OnceLock<Completed>>>,
}

impl Errand {
    /// Work on a claim that the barrier gave.
    pub(super) fn new(
        job: Box<Job>,
        token: ClaimToken,
        action: Action,
        attempt: u32,
        effects: Effects,
    ) -> Self {
        let completed = (effects == Effects::InTransaction).then(Arc::default);
        Self { job, token, action, attempt, completed }
    }
}

/// How an attempt ended.
pub(super) enum End {
    /// With an output; an undo's is empty.
    Done(Payload),
    Error(StepError),
    /// The user's code was not called.
    Undecodable(String),
    Panicked(String),
    CutOff(Duration),
}

/// The user's code at work, past its first poll.
pub(super) struct Attempt {
    errand: Option<Errand>,
    code: Option<BoxFuture<'static, Caught>>,
    time_limit: Duration,
    timer: BoxFuture<'static, ()>,
}

type Caught = Result<Result<Payload, HandlerError>, Box<dyn Any + Send>>;

impl Attempt {
    /// Begins it. It is polled once at once: most code that waits for nothing is over then, and needs no timer.
    ///
    /// # Errors
    /// The attempt, when it is still running.
    pub(super) fn begin(
        errand: Errand,
        output: Option<Payload>,
        handler: &Handler,
        clock: &Arc<dyn Clock>,
        time_limit: Duration,
    ) -> Result<(Errand, End), Box<Self>> {
        if time_limit.is_zero() {
            return Ok((errand, End::CutOff(time_limit)));
        }
        let mut code = call(&errand, output, handler.clone(), time_limit);
        if let Poll::Ready(caught) = code.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Ok((errand, end(caught)));
        }
        let clock = Arc::clone(clock);
        let timer = Box::pin(async move { clock.sleep(time_limit).await });
        Err(Box::new(Self { errand: Some(errand), code: Some(code), time_limit, timer }))
    }

    /// Drops the user's code where it stands.
    pub(super) fn cut_off(&mut self) -> Option<(Errand, End)> {
        self.drop_code();
        Some((self.errand.take()?, End::CutOff(self.time_limit)))
    }

    fn drop_code(&mut self) {
        // What the code holds is the user's too, and may panic when it is dropped.
        let _panic = catch_unwind(AssertUnwindSafe(|| drop(self.code.take())));
    }
}

impl Future for Attempt {
    type Output = (Errand, End);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Errand, End)> {
        let this = &mut *self;
        let code = this.code.as_mut().expect("not polled after its end");
        let end = match code.as_mut().poll(cx) {
            Poll::Ready(caught) => end(caught),
            Poll::Pending if this.timer.as_mut().poll(cx).is_pending() => return Poll::Pending,
            Poll::Pending => End::CutOff(this.time_limit),
        };
        this.drop_code();
        Poll::Ready((this.errand.take().expect("not polled after its end"), end))
    }
}

fn end(caught: Caught) -> End {
    match caught {
        Ok(Ok(output)) => End::Done(output),
        Ok(Err(HandlerError::Step(error))) => End::Error(error),
        Ok(Err(HandlerError::Undecodable(what))) => End::Undecodable(what),
        Err(panic) => End::Panicked(panic_text(&*panic).to_owned()),
    }
}

/// The call, ready to be polled anywhere: it owns all that it needs, and no panic leaves it.
fn call(
    errand: &Errand,
    output: Option<Payload>,
    handler: Handler,
    time_limit: Duration,
) -> BoxFuture<'static, Caught> {
    let command = &errand.job.command;
    let ctx = StepContext {
        saga: command.key.clone(),
        run: command.run,
        step: Arc::clone(&command.step),
        action: errand.action,
        round: command.round,
        attempt: errand.attempt,
        time_limit,
        traceparent: command.traceparent.clone(),
        claim: Some(errand.token),
        completed: errand.completed.clone(),
    };
    let span = tracing::debug_span!(
        "attempt",
        saga = %ctx.saga.saga,
        id = %ctx.saga.id,
        run = %ctx.run,
        step = %ctx.step,
        action = %ctx.action,
        round = ctx.round,
        attempt = ctx.attempt,
    );
    let input = command.input.clone();
    let code = async move {
        if ctx.action == Action::Undo {
            handler.undo(&input, output.as_ref(), &ctx).await.map(|()| Payload::default())
        } else {
            handler.execute(&input, &ctx).await
        }
    };
    let code = AssertUnwindSafe(code).catch_unwind();
    if span.is_disabled() { code.boxed() } else { code.instrument(span).boxed() }
}
