use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::contract::{Compensatable, NoUndo, Pivot, Retriable, StepKind};
use crate::ports::{Compensation, Effects, Step, StepContext, StepError, Undo};

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
#[diagnostic::do_not_recommend]
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
#[diagnostic::do_not_recommend]
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
#[diagnostic::do_not_recommend]
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
#[diagnostic::do_not_recommend]
impl<Input: Send + 'static, Output: Send + 'static, H: Step<Input, Output> + ?Sized> Step<Input, Output>
    for Arc<H>
{
    async fn execute(&self, input: Input, ctx: &StepContext) -> Result<Output, StepError> {
        (**self).execute(input, ctx).await
    }

    fn effects(&self) -> Effects {
        (**self).effects()
    }
}

#[async_trait]
#[diagnostic::do_not_recommend]
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

/// What a kind of contract asks of its handler: [`Step`], and of a compensatable one [`Compensation`] too.
///
/// A bound on the kind, not on the handler: so the compiler's message is the one of the trait that the handler lacks. The four kinds
/// implement it for every handler that has what they ask for; there is no need to implement it.
///
/// ```compile_fail,E0277
/// use saga_core::{Contract, handler, participant::ServedBy};
///
/// fn serve<H, In, Out, K: ServedBy<H, In, Out>>(_: &Contract<In, Out, K>, _: H) {}
///
/// const INVENTORY: Contract<u32, ()> = Contract::new("inventory");
/// serve(&INVENTORY, handler(|_: u32, _| async { Ok(()) })); // compensatable, and no `.undo(…)`: does not compile
/// ```
pub trait ServedBy<H, Input, Output>: StepKind {
    /// [`Step::execute`].
    fn execute<'a>(handler: &'a H, input: Input, ctx: &'a StepContext) -> Attempt<'a, Output>
    where
        Input: 'a,
        Output: 'a;

    /// [`Compensation::undo`]. The kinds without one fail: no coordinator asks them to undo.
    fn undo<'a>(handler: &'a H, undo: Undo<Input, Output>, ctx: &'a StepContext) -> Attempt<'a, ()>
    where
        Input: 'a,
        Output: 'a;

    /// [`Step::effects`].
    fn effects(handler: &H) -> Effects;
}

/// A handler at work.
pub type Attempt<'a, T> = BoxFuture<'a, Result<T, StepError>>;

impl<H, Input: Send + 'static, Output: Send + 'static> ServedBy<H, Input, Output> for Compensatable
where
    H: Step<Input, Output> + Compensation<Input, Output>,
{
    fn execute<'a>(handler: &'a H, input: Input, ctx: &'a StepContext) -> Attempt<'a, Output>
    where
        Input: 'a,
        Output: 'a,
    {
        handler.execute(input, ctx)
    }

    fn undo<'a>(handler: &'a H, undo: Undo<Input, Output>, ctx: &'a StepContext) -> Attempt<'a, ()>
    where
        Input: 'a,
        Output: 'a,
    {
        handler.undo(undo, ctx)
    }

    fn effects(handler: &H) -> Effects {
        handler.effects()
    }
}

macro_rules! served_without_undo {
    ($($kind:ident),*) => {$(
        impl<H, Input: Send + 'static, Output: Send + 'static> ServedBy<H, Input, Output> for $kind
        where
            H: Step<Input, Output>,
        {
            fn execute<'a>(handler: &'a H, input: Input, ctx: &'a StepContext) -> Attempt<'a, Output>
            where
                Input: 'a,
                Output: 'a,
            {
                handler.execute(input, ctx)
            }

            fn undo<'a>(_: &'a H, _: Undo<Input, Output>, ctx: &'a StepContext) -> Attempt<'a, ()>
            where
                Input: 'a,
                Output: 'a,
            {
                let refusal = format!("step {:?} is {} and cannot be undone", ctx.step, Self::KIND);
                Box::pin(async move { Err(StepError::fail(refusal)) })
            }

            fn effects(handler: &H) -> Effects {
                handler.effects()
            }
        }
    )*};
}

served_without_undo!(Pivot, Retriable, NoUndo);
