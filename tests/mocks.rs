//! Unit tests of a handler and a callback, with the mocks of the feature `mock`: no saga, no bus, no time.

use std::sync::Arc;

use async_trait::async_trait;
use saga::ports::{Compensation, MockCallback, MockCompensation, MockEventBus, MockStep, Published, Step};
use saga::record::{Action, MessageId, RunId, SagaKey};
use saga::{
    Callback, CallbackError, Ended, Ending, EventBus, Payload, StepContext, StepError, Timestamp, Topic, Undo,
};

/// The handler to be tested: it charges at another one, and tells the bookkeeping.
struct Payment<Bank> {
    bank: Bank,
    bus: Arc<dyn EventBus>,
}

#[async_trait]
impl<Bank: Step<u64, String>> Step<u64, String> for Payment<Bank> {
    async fn execute(&self, cents: u64, ctx: &StepContext) -> Result<String, StepError> {
        if cents == 0 {
            return Err(StepError::reject("nothing to pay"));
        }
        let receipt = self.bank.execute(cents, ctx).await?;
        let payload = Payload::json(&receipt)?;
        match &self.bus.publish(vec![ctx.message(Topic::new("bookkeeping")?, payload)]).await[..] {
            [Published::Acked] => Ok(receipt),
            unsure => Err(StepError::retry(format!("the bookkeeping was not told: {unsure:?}"))),
        }
    }
}

#[async_trait]
impl<Bank: Compensation<u64, String> + Step<u64, String>> Compensation<u64, String> for Payment<Bank> {
    async fn undo(&self, undo: Undo<u64, String>, ctx: &StepContext) -> Result<(), StepError> {
        self.bank.undo(undo, ctx).await
    }
}

fn context(action: Action) -> StepContext {
    let saga = SagaKey { saga: "checkout".into(), id: "order-1".parse().unwrap() };
    StepContext::new(saga, RunId::from_u128(7), "payment", action)
}

#[tokio::test]
async fn a_handler_charges_and_tells_the_bookkeeping() {
    let mut bank = MockStep::<u64, String>::new();
    bank.expect_execute()
        .withf(|cents, ctx| *cents == 4_200 && ctx.idempotency_key().ends_with("/payment/execute"))
        .once()
        .returning(|_, _| Ok("no. 1".to_owned()));
    let mut bus = MockEventBus::new();
    bus.expect_publish()
        .withf(|batch| batch.len() == 1 && batch[0].key.as_deref() == Some("order-1"))
        .once()
        .returning(|_| vec![Published::Acked]);
    let payment = Payment { bank, bus: Arc::new(bus) };
    assert_eq!(payment.execute(4_200, &context(Action::Execute)).await.unwrap(), "no. 1");
}

#[tokio::test]
async fn a_handler_that_refuses_does_nothing() {
    // Without an expectation, any call is an error.
    let payment = Payment { bank: MockStep::<u64, String>::new(), bus: Arc::new(MockEventBus::new()) };
    let refused = payment.execute(0, &context(Action::Execute)).await.unwrap_err();
    assert_eq!(refused.to_string(), "nothing to pay");
}

#[tokio::test]
async fn an_undo_can_fail_and_be_tried_again() {
    let mut undo = MockCompensation::<u64, String>::new();
    undo.expect_undo().once().returning(|_, _| Err(StepError::retry("the bank is closed")));
    undo.expect_undo().withf(|undo, _| undo.output.is_none()).once().returning(|_, _| Ok(()));
    let what = Undo { input: 4_200, output: None };
    assert!(undo.undo(what.clone(), &context(Action::Undo)).await.is_err());
    assert!(undo.undo(what, &context(Action::Undo)).await.is_ok());
}

/// The callback to be tested: it passes on to another one what completed, and nothing else.
#[derive(Debug)]
struct OnlyCompleted<C>(C);

#[async_trait]
impl<C: Callback> Callback for OnlyCompleted<C> {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        if ended.ending == Ending::Completed { self.0.call(ended).await } else { Ok(()) }
    }
}

fn ended(ending: Ending) -> Ended {
    let key = SagaKey { saga: "checkout".into(), id: "order-1".parse().unwrap() };
    let (run, id) = (RunId::from_u128(7), MessageId::new("7/callback/completed"));
    let [start, end] = [0, 250].map(Timestamp::from_millis);
    Ended::new(id, key, run, ending, Payload::from("{}"), start, end)
}

#[tokio::test]
async fn a_callback_passes_on_what_completed() {
    let mut receiver = MockCallback::new();
    receiver
        .expect_call()
        .withf(|ended| ended.key.id.as_str() == "order-1")
        .once()
        .returning(|_| Err(CallbackError::Retry("the shop is closed".to_owned())));
    let callback = OnlyCompleted(receiver);
    assert!(callback.call(&ended(Ending::RolledBack)).await.is_ok());
    assert!(matches!(callback.call(&ended(Ending::Completed)).await, Err(CallbackError::Retry(_))));
}
