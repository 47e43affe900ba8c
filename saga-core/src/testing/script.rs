use std::collections::HashMap;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::memory::lock;
use crate::ports::{Compensation, Step, StepContext, StepError, Undo};
use crate::record::{Action, RunId};

/// A scripted participant, for steps whose real handler is not the matter of a test. Given to
/// [`Harness::script`](super::Harness::script).
///
/// Its undo succeeds, unless told otherwise. Attempts are counted for each saga by itself, over all rounds.
///
/// ```
/// # use std::time::Duration;
/// # use saga_core::testing::Script;
/// Script::succeeds(42_u64).after(Duration::from_secs(3)); // takes its time
/// Script::succeeds(42_u64).after_errors(2); // the third attempt succeeds
/// Script::<u64>::rejects("card declined");
/// Script::succeeds(42_u64).undo_after_errors(7); // parks, if the step's retry gives up before
/// ```
#[derive(Debug)]
#[must_use = "give it to `Harness::script`"]
pub struct Script<Output> {
    end: End<Output>,
    execute: Course,
    undo: Course,
    attempts: Mutex<HashMap<(RunId, Action), u32>>,
}

/// How an attempt ends that is not one of the first errors.
#[derive(Debug)]
enum End<Output> {
    Succeeds(Output),
    Rejects(String),
    Fails(String),
    Panics(String),
    Hangs,
}

#[derive(Clone, Copy, Debug, Default)]
struct Course {
    takes: Duration,
    errors: u32,
}

impl<Output> Script<Output> {
    /// Does it, and returns this.
    pub fn succeeds(output: Output) -> Self {
        Self::new(End::Succeeds(output))
    }

    /// Refuses, without effect: [`StepError::reject`].
    pub fn rejects(reason: impl Into<String>) -> Self {
        Self::new(End::Rejects(reason.into()))
    }

    /// Gives up, perhaps with an effect: [`StepError::fail`].
    pub fn fails(reason: impl Into<String>) -> Self {
        Self::new(End::Fails(reason.into()))
    }

    /// Panics with this text, in every attempt.
    pub fn panics(text: impl Into<String>) -> Self {
        Self::new(End::Panics(text.into()))
    }

    /// Never comes to an end: it is cut off at its time limit, and tried again. For a participant that is silent altogether, lose its
    /// replies: [`Fault::lose_replies`](super::Fault::lose_replies).
    pub fn hangs() -> Self {
        Self::new(End::Hangs)
    }

    /// Every attempt takes this long.
    pub const fn after(mut self, takes: Duration) -> Self {
        self.execute.takes = takes;
        self
    }

    /// The first attempts end with an error that asks to be tried again.
    pub const fn after_errors(mut self, errors: u32) -> Self {
        self.execute.errors = errors;
        self
    }

    /// Every attempt to undo takes this long.
    pub const fn undo_after(mut self, takes: Duration) -> Self {
        self.undo.takes = takes;
        self
    }

    /// The first attempts to undo end with an error.
    pub const fn undo_after_errors(mut self, errors: u32) -> Self {
        self.undo.errors = errors;
        self
    }

    /// No attempt to undo succeeds.
    pub const fn undo_never_works(self) -> Self {
        self.undo_after_errors(u32::MAX)
    }

    fn new(end: End<Output>) -> Self {
        Self { end, execute: Course::default(), undo: Course::default(), attempts: Mutex::default() }
    }

    async fn run(&self, course: Course, ctx: &StepContext) -> Result<(), StepError> {
        let attempt = {
            let mut attempts = lock(&self.attempts);
            let attempt = attempts.entry((ctx.run, ctx.action)).or_default();
            *attempt = attempt.saturating_add(1);
            *attempt
        };
        if !course.takes.is_zero() {
            tokio::time::sleep(course.takes).await;
        }
        if attempt <= course.errors {
            return Err(StepError::retry(format!("scripted error {attempt}")));
        }
        Ok(())
    }
}

#[async_trait]
impl<Input, Output> Step<Input, Output> for Script<Output>
where
    Input: Send + 'static,
    Output: Clone + Send + Sync + 'static,
{
    async fn execute(&self, _: Input, ctx: &StepContext) -> Result<Output, StepError> {
        self.run(self.execute, ctx).await?;
        match &self.end {
            End::Succeeds(output) => Ok(output.clone()),
            End::Rejects(reason) => Err(StepError::reject(reason)),
            End::Fails(reason) => Err(StepError::fail(reason)),
            End::Panics(text) => panic!("{text}"),
            End::Hangs => pending().await,
        }
    }
}

#[async_trait]
impl<Input, Output> Compensation<Input, Output> for Script<Output>
where
    Input: Send + 'static,
    Output: Send + Sync + 'static,
{
    async fn undo(&self, _: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError> {
        self.run(self.undo, ctx).await
    }
}
