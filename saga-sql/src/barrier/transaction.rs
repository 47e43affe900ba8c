use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::participant::barrier::Row;
use saga_core::ports::{ClaimToken, Completed, Effects, Performed, Task};
use saga_core::record::{Action, Payload, Report, Timestamp};
use saga_core::{Compensation, Step, StepContext, StepError, Undo};
use serde::Serialize;
use sqlx::{Pool, Transaction};

use super::backend::Backend;
use super::{read_row, write_row};

/// A handler's transaction: what is done in it, the barrier's row and with it the reply are committed together, or not at all.
///
/// It is a connection of `sqlx`: pass `&mut *tx` where one is wanted. Dropped without [`commit`](Self::commit), everything is rolled back.
/// Keep it short: it holds the step's row, and in SQLite the whole file.
pub struct StepTransaction<DB: Backend> {
    transaction: Transaction<'static, DB>,
    entered: Entered<DB>,
    ctx: StepContext,
}

/// A step's row, locked in a transaction, its claim being found to hold.
pub struct Entered<DB> {
    task: Task,
    token: ClaimToken,
    action: Action,
    row: Row,
    now: Timestamp,
    database: std::marker::PhantomData<fn() -> DB>,
}

/// What a handler returns that has committed: proof of it, with the step's output. [`StepTransaction::commit`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<Output> {
    pub(super) output: Output,
}

impl<DB: Backend> StepTransaction<DB> {
    /// Begins a transaction and locks the row.
    pub(super) async fn begin(pool: &Pool<DB>, ctx: &StepContext) -> Result<Self, StepError> {
        let mut transaction = DB::begin(pool).await?;
        let entered = Entered::enter(&mut *transaction, ctx).await?;
        Ok(Self { transaction, entered, ctx: ctx.clone() })
    }

    /// Stores the verdict, which is that the step is done with this output, and commits. Of an undo it is that the step is undone.
    ///
    /// # Errors
    /// When the database refuses, or does not answer: then it is not known whether it has committed, and the barrier finds out before
    /// anything is tried again. Return the error.
    pub async fn commit<Output: Serialize>(self, output: Output) -> Result<Committed<Output>, StepError> {
        let Self { mut transaction, entered, ctx } = self;
        let completed = entered.store(&mut *transaction, &output).await?;
        transaction.commit().await?;
        ctx.completed(completed);
        Ok(Committed { output })
    }
}

impl<DB: Backend> Entered<DB> {
    /// Locks the row of the step that a handler is serving, in a transaction of the handler's own, and checks that its claim still holds. The
    /// transaction must be on the database that has the barrier; in SQLite, it must have been begun with `BEGIN IMMEDIATE`. At READ
    /// COMMITTED, which is PostgreSQL's default, and above.
    ///
    /// # Errors
    /// When the claim has run out and another has the row, when the row is not there, or when the database does not answer. Return the
    /// error, and let the transaction roll back.
    pub async fn enter(connection: &mut DB::Connection, ctx: &StepContext) -> Result<Self, StepError> {
        let token = ctx.claim.ok_or_else(|| {
            StepError::retry("there is no claim: a handler in a transaction is to be called by a participant")
        })?;
        let task = Task { run: ctx.run, step: Arc::clone(&ctx.step) };
        let locked = DB::lock(connection, &task).await?.ok_or_else(|| super::gone(&task))?;
        let row = read_row(&task, locked.format, &locked.state)?;
        if !row.is_held_by(token) {
            let (step, run) = (&task.step, task.run);
            return Err(StepError::retry(format!(
                "the claim on step {step} of run {run} ran out, and another has the row"
            )));
        }
        let (action, now) = (ctx.action, locked.at);
        Ok(Self { task, token, action, row, now, database: std::marker::PhantomData })
    }

    /// Stores the verdict in the transaction: that the step is done with this output, or undone. It holds once the transaction is committed,
    /// which is then the handler's to do, before it returns that output.
    ///
    /// # Errors
    /// When the output cannot be written as JSON, or the database refuses.
    pub async fn finish<Output: Serialize>(
        self,
        connection: &mut DB::Connection,
        output: &Output,
    ) -> Result<(), StepError> {
        self.store(connection, output).await.map(drop)
    }

    async fn store<Output: Serialize>(
        self,
        connection: &mut DB::Connection,
        output: &Output,
    ) -> Result<Completed, StepError> {
        let Self { task, token, action, mut row, now, .. } = self;
        let report = match action {
            Action::Undo => Report::Undone,
            Action::Execute | Action::Fence => {
                let output = Payload::json(output).map_err(|error| {
                    let step = &task.step;
                    StepError::fail(format!("the output of step {step} cannot be written as JSON: {error}"))
                })?;
                Report::Succeeded { output }
            }
        };
        let completed = row.complete(token, Performed::Final(report), now);
        let row = write_row(&task, &row, now)?;
        DB::store(connection, &task, row).await?;
        Ok(completed)
    }
}

impl<DB: Backend> Deref for StepTransaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: Backend> DerefMut for StepTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl<DB: Backend> fmt::Debug for StepTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepTransaction").field("step", &self.entered.task.step).finish_non_exhaustive()
    }
}

impl<DB> fmt::Debug for Entered<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("step", &self.task.step).finish_non_exhaustive()
    }
}

/// A handler with its own transactions, which promises that all its effects are in them: every success is
/// [`finish`](Entered::finish)ed in the transaction that it then commits. The barrier counts on it; see [`Effects::InTransaction`].
pub const fn in_transaction<H>(handler: H) -> InTransaction<H> {
    InTransaction { handler }
}

/// A handler that keeps the promise of [`in_transaction`].
#[derive(Clone, Debug)]
pub struct InTransaction<H> {
    handler: H,
}

#[async_trait]
impl<In: Send + 'static, Out: Send + 'static, H: Step<In, Out>> Step<In, Out> for InTransaction<H> {
    async fn execute(&self, input: In, ctx: &StepContext) -> Result<Out, StepError> {
        self.handler.execute(input, ctx).await
    }

    fn effects(&self) -> Effects {
        Effects::InTransaction
    }
}

#[async_trait]
impl<In: Send + 'static, Out: Send + 'static, H: Compensation<In, Out>> Compensation<In, Out>
    for InTransaction<H>
{
    async fn undo(&self, undo: Undo<In, Out>, ctx: &StepContext) -> Result<(), StepError> {
        self.handler.undo(undo, ctx).await
    }
}

/// Cuts a handler off that keeps its transaction for too long.
pub(super) async fn limit<T>(
    time_max: Duration,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::time::timeout(time_max, work).await.unwrap_or_else(|_| {
        Err(StepError::retry(format!("its transaction took longer than {time_max:?} and was rolled back")))
    })
}
