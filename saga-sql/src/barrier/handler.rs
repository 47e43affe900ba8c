use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::Effects;
use saga_core::{Compensation, Step, StepContext, StepError, Undo};
use serde::Serialize;
use sqlx::Pool;

use super::backend::Backend;
use super::transaction::{Committed, StepTransaction, limit};

/// A handler made of a closure that gets the barrier's transaction. An inbox's `handler` makes it, [`undo`](Self::undo) adds how to undo.
pub struct TransactionHandler<DB: Backend, In, Out, F> {
    pool: Pool<DB>,
    time_max: Duration,
    execute: F,
    types: PhantomData<fn(In) -> Out>,
}

/// A handler made of a closure that gets the barrier's transaction, with another one to undo it.
pub struct TransactionHandlerWithUndo<DB: Backend, In, Out, F, G> {
    handler: TransactionHandler<DB, In, Out, F>,
    undo: G,
}

impl<DB: Backend, In, Out, F> TransactionHandler<DB, In, Out, F> {
    pub(crate) const fn new(pool: Pool<DB>, time_max: Duration, execute: F) -> Self {
        Self { pool, time_max, execute, types: PhantomData }
    }

    /// With this closure to undo the step, in a transaction too: it ends with `tx.commit(())`. It must be safe when nothing had happened;
    /// see [`Compensation`].
    pub fn undo<G, Fut>(self, undo: G) -> TransactionHandlerWithUndo<DB, In, Out, F, G>
    where
        G: Fn(Undo<In, Out>, StepTransaction<DB>, StepContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Committed<()>, StepError>> + Send,
    {
        TransactionHandlerWithUndo { handler: self, undo }
    }

    async fn run<Input, T, Fut>(
        &self,
        input: Input,
        ctx: &StepContext,
        code: impl Fn(Input, StepTransaction<DB>, StepContext) -> Fut + Send,
    ) -> Result<T, StepError>
    where
        Fut: Future<Output = Result<Committed<T>, StepError>> + Send,
    {
        let work = async {
            let transaction = StepTransaction::begin(&self.pool, ctx).await?;
            code(input, transaction, ctx.clone()).await.map(|committed| committed.output)
        };
        limit(self.time_max, work).await
    }
}

#[async_trait]
#[diagnostic::do_not_recommend]
impl<DB, In, Out, F, Fut> Step<In, Out> for TransactionHandler<DB, In, Out, F>
where
    DB: Backend,
    In: Send + 'static,
    Out: Serialize + Send + 'static,
    F: Fn(In, StepTransaction<DB>, StepContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Committed<Out>, StepError>> + Send,
{
    async fn execute(&self, input: In, ctx: &StepContext) -> Result<Out, StepError> {
        self.run(input, ctx, &self.execute).await
    }

    fn effects(&self) -> Effects {
        Effects::InTransaction
    }
}

#[async_trait]
#[diagnostic::do_not_recommend]
impl<DB, In, Out, F, G, Fut> Step<In, Out> for TransactionHandlerWithUndo<DB, In, Out, F, G>
where
    DB: Backend,
    In: Send + 'static,
    Out: Serialize + Send + 'static,
    F: Fn(In, StepTransaction<DB>, StepContext) -> Fut + Send + Sync,
    G: Send + Sync,
    Fut: Future<Output = Result<Committed<Out>, StepError>> + Send,
{
    async fn execute(&self, input: In, ctx: &StepContext) -> Result<Out, StepError> {
        self.handler.execute(input, ctx).await
    }

    fn effects(&self) -> Effects {
        Effects::InTransaction
    }
}

#[async_trait]
#[diagnostic::do_not_recommend]
impl<DB, In, Out, F, G, Fut> Compensation<In, Out> for TransactionHandlerWithUndo<DB, In, Out, F, G>
where
    DB: Backend,
    In: Send + 'static,
    Out: Send + 'static,
    F: Send + Sync,
    G: Fn(Undo<In, Out>, StepTransaction<DB>, StepContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Committed<()>, StepError>> + Send,
{
    async fn undo(&self, undo: Undo<In, Out>, ctx: &StepContext) -> Result<(), StepError> {
        self.handler.run(undo, ctx, &self.undo).await
    }
}

impl<DB: Backend, In, Out, F> fmt::Debug for TransactionHandler<DB, In, Out, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionHandler").finish_non_exhaustive()
    }
}

impl<DB: Backend, In, Out, F, G> fmt::Debug for TransactionHandlerWithUndo<DB, In, Out, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionHandlerWithUndo").finish_non_exhaustive()
    }
}
