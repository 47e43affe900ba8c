//! The programs that `docs/testing.md` shows, run as they stand there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::MockCallback;
use saga::record::{Action, RunId, SagaKey};
use saga::testing::{CallbackScript, Fault, Harness, Script};
use saga::{
    Callback, CallbackError, Contract, Ended, Ending, Retry, Saga, Status, Step, StepContext, StepError,
    handler,
};

const STOCK: Contract<String, u32> = Contract::new("stock");
const PAYMENT: Contract<u32, String> = Contract::new("payment");

fn checkout() -> Saga<String> {
    let mut saga = Saga::<String>::builder("checkout", 1);
    let stock = saga.step(&STOCK, String::clone);
    let payment = saga.step_after(&stock, &PAYMENT, |_, shelf| shelf);
    saga.configure(&stock).retry(Retry::DEFAULT.attempts(3));
    saga.configure(&payment).deadline(Duration::from_secs(3_600));
    saga.callback(Ending::Completed, Arc::new(CallbackScript::answers()));
    saga.build().unwrap()
}

async fn reserve(product: String, _: StepContext) -> Result<u32, StepError> {
    if product == "unicorn" { Err(StepError::reject("none left")) } else { Ok(7) }
}

async fn release(_: saga::Undo<String, u32>, _: StepContext) -> Result<(), StepError> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_declined_card_gives_the_stock_back() {
    let mut harness = Harness::new(&checkout());
    harness
        .serve(&STOCK, handler(reserve).undo(release)) // the real handler
        .script(&PAYMENT, Script::rejects("card declined"));

    let run = harness.run("order-1", &"lamp".to_owned()).await;

    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.effects, ["stock executed", "stock undone"]);
    assert_eq!(
        run.timeline,
        [
            "started",
            "stock dispatched",
            "stock execute: done",
            "stock succeeded",
            "payment dispatched",
            "payment execute: rejected: card declined",
            "payment rejected: card declined",
            "failing: payment was refused: card declined",
            "unwinding: stock",
            "stock undo dispatched",
            "stock undo: done",
            "stock undone",
            "rolled-back",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_bank_has_an_hour() {
    let mut harness = Harness::new(&checkout());
    harness
        .script(&STOCK, Script::succeeds(7))
        .script(&PAYMENT, Script::succeeds("no. 1".to_owned()))
        .fault("payment", Fault::lose_replies());

    let run = harness.run("order-1", &"lamp".to_owned()).await;

    assert_eq!(run.timeline.when("payment deadline passed"), Some(Duration::from_secs(3_600)));
    // It was charged, though nobody heard of it: so it was undone, and then the stock.
    assert_eq!(run.effects, ["stock executed", "payment executed", "payment undone", "stock undone"]);
}

#[tokio::test(start_paused = true)]
async fn the_shelf_is_stuck_until_an_operator_retries() {
    let mut harness = Harness::new(&checkout());
    harness
        .script(&STOCK, Script::succeeds(7).undo_after_errors(3))
        .script(&PAYMENT, Script::fails("no connection"));
    let run = harness.run("order-1", &"lamp".to_owned()).await;
    assert_eq!(run.outcome.status, Status::Parked);

    harness.sagas().retry("order-1", None, "ops@example.com", "oiled").await.unwrap();
    let run = harness.finish("order-1").await;
    assert_eq!(run.outcome.status, Status::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn a_crash_and_a_deaf_receiver_cost_time_and_nothing_else() {
    let mut harness = Harness::new(&checkout());
    harness
        .script(&STOCK, Script::succeeds(7).after(Duration::from_secs(10)))
        .script(&PAYMENT, Script::succeeds("no. 1".to_owned()).after_errors(2))
        .callback(CallbackScript::answers().after_errors(5));
    harness.start("order-1", &"lamp".to_owned()).await;
    harness.advance(Duration::from_secs(5)).await;
    harness.restart_coordinator().await;
    harness.restart_participants().await;

    let run = harness.finish("order-1").await;

    assert_eq!(run.outcome.status, Status::Completed);
    assert_eq!(run.effects, ["stock executed", "payment executed"]);
    assert_eq!(run.callbacks.len(), 6); // each with the same id
}

#[tokio::test]
async fn a_handler_by_itself() {
    let saga = SagaKey { saga: "checkout".into(), id: "order-1".parse().unwrap() };
    let ctx = StepContext::new(saga, RunId::from_u128(1), "stock", Action::Execute);
    assert_eq!(handler(reserve).execute("lamp".to_owned(), &ctx).await.unwrap(), 7);
    assert!(handler(reserve).execute("unicorn".to_owned(), &ctx).await.is_err());
}

/// A callback of our own, which leaves trials alone.
#[derive(Debug)]
struct NoTrials<C>(C);

#[async_trait]
impl<C: Callback> Callback for NoTrials<C> {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        if ended.key.id.as_str().starts_with("trial-") { Ok(()) } else { self.0.call(ended).await }
    }
}

#[tokio::test(start_paused = true)]
async fn the_receiver_hears_of_real_orders_only() {
    let mut receiver = MockCallback::new();
    receiver.expect_call().withf(|ended| ended.key.id.as_str() == "order-1").once().returning(|_| Ok(()));
    let mut harness = Harness::new(&checkout());
    harness
        .script(&STOCK, Script::succeeds(7))
        .script(&PAYMENT, Script::succeeds("no. 1".to_owned()))
        .callback(NoTrials(receiver));
    harness.run("order-1", &"lamp".to_owned()).await;
    harness.run("trial-1", &"lamp".to_owned()).await;
}

#[test]
fn the_page_shows_what_is_run_here() {
    let page = include_str!("../docs/testing.md");
    let blocks =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect::<Vec<_>>();
    assert!(blocks.len() >= 5);
    for block in blocks {
        assert!(
            include_str!("testing_page.rs").contains(block),
            "docs/testing.md shows what is not run:\n{block}"
        );
    }
}
