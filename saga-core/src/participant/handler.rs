use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::contract::{Compensatable, NoUndo, Pivot, Retriable, StepKind};
use crate::ports::{Compensation, Step, StepContext, StepError, Undo};

/// A handler made of a closure. [`undo`](HandlerFn::undo) adds how to undo the step, which a compensatable contract asks for.
///
/// The context comes by value, since the closure's future must own what it uses; it is cheap to clone.
///
/// ```
/// use saga_core::{handler, ports::StepError};
///
/// let reserve = handler(|quantity: u32, _| async move {
///     let shelf: u64 = "7".parse()?; // any error means: try again
///     if quantity > 50 {
///         return Err(StepError::reject("out of stock"));
///     }
///     Ok(shelf)
/// })
/// .undo(|undo, _| async move {
///     let _shelf: Option<u64> = undo.output; // `None`: perhaps nothing was reserved
///     Ok(())
/// });
/// ```
pub fn handler<Input, Output, F, Fut>(execute: F) -> HandlerFn<Input, Output, F>
where
    F: Fn(Input, StepContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Output, StepError>> + Send,
{
    HandlerFn { execute, types: PhantomData }
}

/// A handler made of a closure, by [`handler`].
pub struct HandlerFn<Input, Output, F> {
    execute: F,
    types: PhantomData<fn(Input) -> Output>,
}

/// A handler made of a closure, with another one to undo it, by [`HandlerFn::undo`].
pub struct HandlerWithUndo<Input, Output, F, G> {
    handler: HandlerFn<Input, Output, F>,
    undo: G,
}

impl<Input, Output, F> HandlerFn<Input, Output, F> {
    /// With this closure to undo the step. It must be safe when nothing had happened; see [`Compensation`].
    pub fn undo<G, Fut>(self, undo: G) -> HandlerWithUndo<Input, Output, F, G>
    where
        G: Fn(Undo<Input, Output>, StepContext) -> Fut + Send + Sync,
        Fut: Future<Output = Result<(), StepError>> + Send,
    {
        HandlerWithUndo { handler: self, undo }
    }
}

#[async_trait]
impl<Input, Output, F, Fut> Step<Input, Output> for HandlerFn<Input, Output, F>
where
    Input: Send + 'static,
    Output: Send + 'static,
    F: Fn(Input, StepContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Output, StepError>> + Send,
{
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError> {
        (self.execute)(input, ctx.clone()).await
    }
}

#[async_trait]
impl<Input, Output, F, G, Fut> Step<Input, Output> for HandlerWithUndo<Input, Output, F, G>
where
    Input: Send + 'static,
    Output: Send + 'static,
    F: Fn(Input, StepContext) -> Fut + Send + Sync,
    G: Send + Sync,
    Fut: Future<Output = Result<Output, StepError>> + Send,
{
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError> {
        (self.handler.execute)(input, ctx.clone()).await
    }
}

#[async_trait]
impl<Input, Output, F, G, Fut> Compensation<Input, Output> for HandlerWithUndo<Input, Output, F, G>
where
    Input: Send + 'static,
    Output: Send + 'static,
    F: Send + Sync,
    G: Fn(Undo<Input, Output>, StepContext) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), StepError>> + Send,
{
    async fn undo(&self, undo: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError> {
        (self.undo)(undo, ctx.clone()).await
    }
}

/// One handler can serve several contracts and services.
#[async_trait]
impl<Input: Send + 'static, Output: Send + 'static, H: Step<Input, Output> + ?Sized> Step<Input, Output>
    for Arc<H>
{
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError> {
        (**self).execute(input, ctx).await
    }
}

#[async_trait]
impl<Input: Send + 'static, Output: Send + 'static, H: Compensation<Input, Output> + ?Sized>
    Compensation<Input, Output> for Arc<H>
{
    async fn undo(&self, undo: Undo<Input, Output>, ctx: &StepContext) -> Result<(), StepError> {
        (**self).undo(undo, ctx).await
    }
}

impl<Input, Output, F> fmt::Debug for HandlerFn<Input, Output, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

impl<Input, Output, F, G> fmt::Debug for HandlerWithUndo<Input, Output, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerWithUndo").finish_non_exhaustive()
    }
}

/// What a contract of kind `K` asks of whoever serves it: [`Step`], and for a compensatable contract [`Compensation`] too.
///
/// It is implemented for every type that has these; there is no need to implement it.
pub trait Serves<Input: Send + 'static, Output: Send + 'static, K>: Send + Sync + 'static {
    /// [`Step::execute`].
    fn serve_execute<'a>(
        &'a self,
        input: Input,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<Output, StepError>>
    where
        Input: 'a,
        Output: 'a;

    /// [`Compensation::undo`], where the kind has one. The others fail: no coordinator asks them to undo.
    fn serve_undo<'a>(
        &'a self,
        undo: Undo<Input, Output>,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<(), StepError>>
    where
        Input: 'a,
        Output: 'a;
}

impl<Input: Send + 'static, Output: Send + 'static, H> Serves<Input, Output, Compensatable> for H
where
    H: Step<Input, Output> + Compensation<Input, Output> + 'static,
{
    fn serve_execute<'a>(
        &'a self,
        input: Input,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<Output, StepError>>
    where
        Input: 'a,
        Output: 'a,
    {
        self.execute(input, ctx)
    }

    fn serve_undo<'a>(
        &'a self,
        undo: Undo<Input, Output>,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<(), StepError>>
    where
        Input: 'a,
        Output: 'a,
    {
        self.undo(undo, ctx)
    }
}

macro_rules! serves_without_undo {
    ($($kind:ident),*) => {$(
        impl<Input: Send + 'static, Output: Send + 'static, H> Serves<Input, Output, $kind> for H
        where
            H: Step<Input, Output> + 'static,
        {
            fn serve_execute<'a>(
                &'a self,
                input: Input,
                ctx: &'a StepContext,
            ) -> BoxFuture<'a, Result<Output, StepError>>
            where
                Input: 'a,
                Output: 'a,
            {
                self.execute(input, ctx)
            }

            fn serve_undo<'a>(
                &'a self,
                _undo: Undo<Input, Output>,
                ctx: &'a StepContext,
            ) -> BoxFuture<'a, Result<(), StepError>>
            where
                Input: 'a,
                Output: 'a,
            {
                let refusal = format!("step {:?} is {} and cannot be undone", ctx.step, $kind::KIND);
                Box::pin(async move { Err(StepError::fail(refusal)) })
            }
        }
    )*};
}

serves_without_undo!(Pivot, Retriable, NoUndo);
