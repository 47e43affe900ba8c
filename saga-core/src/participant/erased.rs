use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler::ServedBy;
use crate::contract::Contract;
use crate::ports::{Effects, StepContext, StepError, Undo};
use crate::record::Payload;

/// A handler with its types erased: payloads in, payloads out. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Handler {
    contract: &'static str,
    effects: Effects,
    inner: Arc<dyn Erased>,
}

/// Why an attempt brought no result.
#[derive(Debug)]
pub(crate) enum HandlerError {
    /// The input is not what the contract says: the user's code never ran, and never will with it.
    Undecodable(String),
    /// The user's code said so, or what it returned cannot be written.
    Step(StepError),
}

/// A handler for a contract, with its types erased.
pub(crate) fn erase<Input, Output, K, H>(contract: &Contract<Input, Output, K>, handler: H) -> Handler
where
    Input: DeserializeOwned + Send + 'static,
    Output: Serialize + DeserializeOwned + Send + 'static,
    K: ServedBy<H, Input, Output>,
    H: Send + Sync + 'static,
{
    let effects = K::effects(&handler);
    let typed = Typed { handler, contract: contract.name(), types: PhantomData::<fn(Input) -> (Output, K)> };
    Handler { contract: contract.name(), effects, inner: Arc::new(typed) }
}

impl Handler {
    /// Where the user's code has its effects.
    pub(crate) const fn effects(&self) -> Effects {
        self.effects
    }

    /// Reads the input, runs the user's code, writes the output. A panic of the user's code is not caught here.
    pub(crate) async fn execute(&self, input: &Payload, ctx: &StepContext) -> Result<Payload, HandlerError> {
        self.inner.execute(input, ctx).await
    }

    /// Reads the input and the output, and runs the user's undo. An output that cannot be read counts as not known.
    pub(crate) async fn undo(
        &self,
        input: &Payload,
        output: Option<&Payload>,
        ctx: &StepContext,
    ) -> Result<(), HandlerError> {
        self.inner.undo(input, output, ctx).await
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("contract", &self.contract).finish_non_exhaustive()
    }
}

trait Erased: Send + Sync {
    fn execute<'a>(
        &'a self,
        input: &'a Payload,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<Payload, HandlerError>>;

    fn undo<'a>(
        &'a self,
        input: &'a Payload,
        output: Option<&'a Payload>,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<(), HandlerError>>;
}

struct Typed<H, Types> {
    handler: H,
    contract: &'static str,
    types: PhantomData<Types>,
}

impl<H, Input, Output, K> Erased for Typed<H, fn(Input) -> (Output, K)>
where
    Input: DeserializeOwned + Send + 'static,
    Output: Serialize + DeserializeOwned + Send + 'static,
    K: ServedBy<H, Input, Output>,
    H: Send + Sync + 'static,
{
    fn execute<'a>(
        &'a self,
        input: &'a Payload,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<Payload, HandlerError>> {
        async move {
            let input = self.input(input)?;
            let output = K::execute(&self.handler, input, ctx).await.map_err(HandlerError::Step)?;
            // The effect is there by now, and another attempt would not write it better.
            Payload::json(&output).map_err(|error| {
                let what =
                    format!("the output of contract {:?} cannot be written as JSON: {error}", self.contract);
                HandlerError::Step(StepError::fail(what))
            })
        }
        .boxed()
    }

    fn undo<'a>(
        &'a self,
        input: &'a Payload,
        output: Option<&'a Payload>,
        ctx: &'a StepContext,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        async move {
            let output = output.and_then(|output| output.parse().ok());
            let undo = Undo { input: self.input(input)?, output };
            K::undo(&self.handler, undo, ctx).await.map_err(HandlerError::Step)
        }
        .boxed()
    }
}

impl<H, Types> Typed<H, Types> {
    fn input<Input: DeserializeOwned>(&self, payload: &Payload) -> Result<Input, HandlerError> {
        payload.parse().map_err(|error| {
            let what = format!("the input of contract {:?} cannot be read: {error}", self.contract);
            HandlerError::Undecodable(what)
        })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::contract::{NoUndo, Pivot};
    use crate::participant::handler::handler;
    use crate::ports::{Compensation, Step};
    use crate::record::{Action, RunId, SagaId, SagaKey};

    const DOUBLE: Contract<u32, u64> = Contract::new("double");
    const MAIL: Contract<String, (), NoUndo> = Contract::new("mail");

    fn context() -> StepContext {
        let saga = SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() };
        StepContext::new(saga, RunId::from_u128(7), "double", Action::Execute)
    }

    fn doubling() -> Handler {
        let handler = handler(|n: u32, ctx: StepContext| async move {
            if n == 0 {
                return Err(StepError::reject(format!("{} will not double nothing", ctx.step)));
            }
            let parsed: u64 = n.to_string().parse()?;
            Ok(parsed * 2)
        })
        .undo(|undo, _| async move { Err(StepError::retry(format!("{undo:?}"))) });
        erase(&DOUBLE, handler)
    }

    #[tokio::test]
    async fn payloads_are_read_and_written() {
        let double = doubling();
        let output = double.execute(&Payload::from("21"), &context()).await.unwrap();
        assert_eq!(output, Payload::from("42"));
    }

    #[tokio::test]
    async fn an_error_of_the_users_is_told_from_an_unreadable_input() {
        let double = doubling();
        let rejected = double.execute(&Payload::from("0"), &context()).await;
        assert!(
            matches!(&rejected, Err(HandlerError::Step(e)) if e.reason == "double will not double nothing"),
            "{rejected:?}"
        );
        for bad in ["", "-1", "{}", "21 x"] {
            let bad = Payload::from(bad);
            let execute = double.execute(&bad, &context()).await;
            let undo = double.undo(&bad, None, &context()).await;
            assert!(
                matches!(&execute, Err(HandlerError::Undecodable(why)) if why.contains("contract \"double\"")),
                "{execute:?}"
            );
            assert!(matches!(undo, Err(HandlerError::Undecodable(_))), "{undo:?}");
        }
    }

    #[tokio::test]
    async fn undo_is_told_the_output_if_it_is_known_and_readable() {
        for (output, told) in [(Some("42"), "Some(42)"), (Some("oops"), "None"), (None, "None")] {
            let output = output.map(Payload::from);
            let undone = doubling().undo(&Payload::from("21"), output.as_ref(), &context()).await;
            let Err(HandlerError::Step(error)) = undone else { panic!("{undone:?}") };
            assert_eq!(error.reason, format!("Undo {{ input: 21, output: {told} }}"));
        }
    }

    struct Mailer;

    #[async_trait]
    impl Step<String, ()> for Mailer {
        async fn execute(&self, to: String, _: &StepContext) -> Result<(), StepError> {
            if to.is_empty() { Err(StepError::fail("nobody")) } else { Ok(()) }
        }
    }

    #[async_trait]
    impl Step<u32, u64> for Mailer {
        async fn execute(&self, n: u32, _: &StepContext) -> Result<u64, StepError> {
            Ok(u64::from(n) * 2)
        }
    }

    #[async_trait]
    impl Compensation<u32, u64> for Mailer {
        async fn undo(&self, _: Undo<u32, u64>, _: &StepContext) -> Result<(), StepError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn one_object_can_serve_several_contracts() {
        const PIVOT: Contract<u32, u64, Pivot> = Contract::new("decide");
        let mailer = Arc::new(Mailer);
        let (mail, double) = (erase(&MAIL, Arc::clone(&mailer)), erase(&DOUBLE, Arc::clone(&mailer)));
        let decide = erase(&PIVOT, mailer);
        let input = Payload::from("\"abc@example.com\"");
        assert_eq!(mail.execute(&input, &context()).await.unwrap(), Payload::from("null"));
        assert_eq!(double.execute(&Payload::from("1"), &context()).await.unwrap(), Payload::from("2"));
        double.undo(&Payload::from("1"), None, &context()).await.unwrap();
        let refused = decide.undo(&Payload::from("1"), None, &context()).await;
        assert!(
            matches!(&refused, Err(HandlerError::Step(e)) if e.reason.contains("is pivot and cannot be undone")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn an_output_that_cannot_be_written_is_a_failure_with_an_effect() {
        type Keyed = std::collections::BTreeMap<(u8, u8), u8>;
        const ODD: Contract<(), Keyed, NoUndo> = Contract::new("odd");
        let odd = erase(&ODD, handler(|(), _| async { Ok(Keyed::from([((1, 2), 3)])) }));
        let failed = odd.execute(&Payload::from("null"), &context()).await;
        assert!(
            matches!(&failed, Err(HandlerError::Step(e)) if e.kind == crate::ports::StepErrorKind::Fail),
            "{failed:?}"
        );
    }
}
