//! Whole sagas under virtual time, with `saga::testing`.

use std::time::Duration;

use saga::definition::FailurePolicy;
use saga::memory::Faults;
use saga::record::{Announcement, Ending, Resolution, Retry, Status, Topic};
use saga::testing::{CallbackScript, Fault, Harness, Script};
use saga::wire::Message;
use saga::{Contract, NoUndo, Pivot, Retriable, Saga, StepContext, StepError, Undo, handler};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    product: String,
    cents: u64,
}

const INVENTORY: Contract<String, u32> = Contract::new("inventory");
const PAYMENT: Contract<u64, String> = Contract::new("payment");
const MAIL: Contract<String, (), NoUndo> = Contract::new("mail");

const HOUR: Duration = Duration::from_secs(3_600);

fn order() -> Order {
    Order { product: "lamp".into(), cents: 4_200 }
}

/// Stock and payment in parallel, then a mail; a payment has an hour.
fn checkout() -> Saga<Order> {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let stock = saga.step(&INVENTORY, |order| order.product.clone());
    let charge = saga.step(&PAYMENT, |order| order.cents);
    saga.step_after((&stock, &charge), &MAIL, |_, (shelf, receipt)| {
        format!("shelf {shelf}, receipt {receipt}")
    });
    saga.configure(&charge).deadline(HOUR);
    saga.configure(&stock).retry(Retry::DEFAULT.attempts(3));
    saga.on_first_failure(FailurePolicy::WaitAll);
    saga.deadline(24 * HOUR);
    saga.announce(Announcement::RolledBack, "checkout-rolled-back", |order, _| order.product.clone());
    for ending in [Ending::Completed, Ending::RolledBack] {
        saga.callback(ending, std::sync::Arc::new(CallbackScript::answers()));
    }
    saga.trigger_default("order-placed");
    saga.build().unwrap()
}

/// Everything works.
fn healthy(saga: &Saga<Order>) -> Harness<Order> {
    let mut harness = Harness::new(saga);
    harness
        .script(&INVENTORY, Script::succeeds(7))
        .script(&PAYMENT, Script::succeeds("no. 1".to_owned()))
        .script(&MAIL, Script::succeeds(()));
    harness
}

#[tokio::test(start_paused = true)]
async fn a_saga_completes_and_says_what_happened() {
    let run = healthy(&checkout()).run("order-1", &order()).await;
    assert_eq!(
        run.timeline,
        [
            "started",
            "inventory dispatched",
            "payment dispatched",
            "inventory execute: done",
            "payment execute: done",
            "inventory succeeded",
            "payment succeeded",
            "mail dispatched",
            "mail execute: done",
            "mail succeeded",
            "completed",
            "callback answered",
        ],
    );
    assert_eq!(run.outcome.status, Status::Completed);
    assert_eq!(run.outcome.output("payment").unwrap().parse::<String>().unwrap(), "no. 1");
    assert_eq!(run.effects, ["inventory executed", "payment executed", "mail executed"]);
    assert_eq!(run.callbacks.len(), 1);
    assert_eq!(run.callbacks[0].ending, Ending::Completed);
    assert!(run.announcements.is_empty() && run.dead_letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_hour_takes_no_time() {
    let mut harness = healthy(&checkout());
    harness.fault("payment", Fault::lose_replies());
    let real = std::time::Instant::now();
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.timeline.when("payment deadline passed"), Some(HOUR));
    // It may have been charged: nobody knows, so it is undone.
    assert_eq!(run.effects, ["inventory executed", "payment executed", "inventory undone", "payment undone"]);
    assert!(real.elapsed() < Duration::from_secs(20), "{:?}", real.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_undone_in_the_order_of_the_plan() {
    async fn reserve(_: String, _: StepContext) -> Result<u32, StepError> {
        Ok(7)
    }
    async fn release(undo: Undo<String, u32>, _: StepContext) -> Result<(), StepError> {
        assert_eq!(undo.output, Some(7));
        Ok(())
    }
    let mut harness = healthy(&checkout());
    harness.serve(&INVENTORY, handler(reserve).undo(release));
    harness.script(&MAIL, Script::rejects("no such address"));
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.outcome.reason.as_deref(), Some("mail was refused: no such address"));
    assert_eq!(
        run.timeline.lines()[9..],
        [
            "mail rejected: no such address",
            "failing: mail was refused: no such address",
            "unwinding: inventory, payment",
            "inventory undo dispatched",
            "payment undo dispatched",
            "inventory undo: done",
            "payment undo: done",
            "inventory undone",
            "payment undone",
            "rolled-back",
            "callback answered",
            "announced rolled-back",
        ],
        "{run}"
    );
    assert_eq!(run.announcements.len(), 1);
    assert_eq!(run.announcements[0].payload.parse::<String>().unwrap(), "lamp");
}

#[tokio::test(start_paused = true)]
async fn what_is_duplicated_lost_or_late_happens_once() {
    let mut harness = healthy(&checkout());
    harness
        .fault("inventory", Fault::duplicate_commands())
        .fault("inventory", Fault::duplicate_replies())
        .fault("payment", Fault::lose_commands().first(2))
        .fault("mail", Fault::lose_replies().first(3))
        .fault("mail", Fault::delay_replies(Duration::from_secs(60)));
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::Completed, "{run}");
    assert_eq!(run.effects, ["inventory executed", "payment executed", "mail executed"]);
    assert_eq!(run.timeline.count("payment execute command lost"), 2);
    assert_eq!(run.timeline.count("mail execute reply lost"), 3);
    assert_eq!(run.timeline.count("inventory execute reply duplicated"), 2, "{run}");
    assert!(run.elapsed > Duration::from_secs(60) && run.elapsed < HOUR, "{run}");
    assert_eq!(run.callbacks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_is_parked_until_an_operator_retries() {
    let mut harness = healthy(&checkout());
    harness.script(&INVENTORY, Script::succeeds(7).undo_after_errors(3)).script(&MAIL, Script::rejects("no"));
    let parked = harness.run("order-1", &order()).await;
    assert_eq!(parked.outcome.status, Status::Parked);
    assert_eq!(parked.effects, ["inventory executed", "payment executed", "payment undone"]);
    assert!(parked.callbacks.is_empty(), "a parked saga has not ended");

    harness.sagas().retry("order-1", None, "ops@example.com", "the shelf is free again").await.unwrap();
    let run = harness.finish("order-1").await;
    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.effects.last().unwrap(), "inventory undone");
    assert_eq!(run.timeline.count("retry by ops@example.com: the shelf is free again"), 1, "{run}");
    assert_eq!(run.callbacks.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_be_replaced_while_a_saga_is_parked() {
    let mut harness = healthy(&checkout());
    harness.script(&INVENTORY, Script::succeeds(7).undo_never_works()).script(&MAIL, Script::rejects("no"));
    assert_eq!(harness.run("order-1", &order()).await.outcome.status, Status::Parked);
    harness.script(&INVENTORY, Script::succeeds(7));
    harness.sagas().retry("order-1", Some("inventory"), "ops", "mended").await.unwrap();
    assert_eq!(harness.finish("order-1").await.outcome.status, Status::RolledBack);

    // Resolving needs no working undo: it seals the row first, then takes the operator's word.
    harness.script(&INVENTORY, Script::succeeds(7).undo_never_works());
    assert_eq!(harness.run("order-2", &order()).await.outcome.status, Status::Parked);
    harness.sagas().resolve("order-2", "inventory", Resolution::Undone, "ops", "by hand").await.unwrap();
    let run = harness.finish("order-2").await;
    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.timeline.count("inventory resolved as undone"), 1, "{run}");
}

#[tokio::test(start_paused = true)]
async fn errors_are_tried_again_and_panics_are_failed_attempts() {
    let mut harness = healthy(&checkout());
    harness.script(&INVENTORY, Script::succeeds(7).after_errors(2));
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::Completed);
    assert_eq!(run.timeline.count("inventory execute: error: scripted error 1"), 1, "{run}");
    assert_eq!(run.timeline.count("inventory execute (attempt 3): done"), 1, "{run}");

    harness.script(&INVENTORY, Script::panics("a bug"));
    let run = harness.run("order-2", &order()).await;
    assert_eq!(run.outcome.status, Status::RolledBack);
    assert_eq!(run.timeline.count("inventory execute (attempt 3): panicked"), 1, "{run}");
    assert!(run.outcome.reason.unwrap().contains("a bug"));
    // It may have had an effect before it panicked.
    assert_eq!(run.effects, ["payment executed", "inventory undone", "payment undone"]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_is_cut_off_and_tried_again() {
    let mut harness = healthy(&checkout());
    harness.script(&INVENTORY, Script::hangs());
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::RolledBack, "{run}");
    assert_eq!(run.timeline.count("inventory execute: cut off"), 1, "{run}");
    assert_eq!(run.timeline.count("inventory execute (attempt 3): cut off"), 1, "{run}");
}

#[tokio::test(start_paused = true)]
async fn crashes_heal_by_themselves() {
    let mut harness = healthy(&checkout());
    harness.script(&PAYMENT, Script::succeeds("no. 1".to_owned()).after(Duration::from_secs(10)));
    harness.start("order-1", &order()).await;
    harness.advance(Duration::from_secs(5)).await;
    harness.crash_coordinator().await;
    harness.advance(Duration::from_secs(300)).await;
    harness.restart_coordinator().await;
    harness.restart_participants().await;
    let run = harness.finish("order-1").await;
    assert_eq!(run.outcome.status, Status::Completed, "{run}");
    assert_eq!(run.effects, ["inventory executed", "payment executed", "mail executed"]);
    assert_eq!(run.timeline.count("coordinator crashed"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_repeated_until_it_is_answered() {
    let mut harness = healthy(&checkout());
    harness.callback(CallbackScript::answers().after_errors(2));
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.timeline.count("callback attempt 2 failed: scripted error 2"), 1, "{run}");
    assert_eq!(run.callbacks.len(), 3);
    assert!(run.callbacks.iter().all(|call| call.id == run.callbacks[0].id));

    harness.callback(CallbackScript::refuses("410 Gone"));
    let run = harness.run("order-2", &order()).await;
    assert_eq!(run.outcome.status, Status::Completed);
    assert_eq!(run.timeline.lines().last(), Some(&"callback refused: 410 Gone"));
}

#[tokio::test(start_paused = true)]
async fn a_message_starts_a_saga_and_a_bad_one_is_a_dead_letter() {
    let mut harness = healthy(&checkout());
    let placed = Topic::new("order-placed").unwrap();
    let message = |id: &'static str, payload: &'static str| Message::new(placed.clone(), payload).keyed(id);
    harness.publish(message("order-1", r#"{"product":"lamp","cents":4200}"#)).await;
    harness.publish(message("order-2", "nonsense")).await;
    let run = harness.finish("order-1").await;
    assert_eq!(run.outcome.status, Status::Completed);
    assert!(run.dead_letters.is_empty());
    let dead = harness.dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!(&dead[0].message.payload[..], b"nonsense");
}

#[tokio::test(start_paused = true)]
async fn a_saga_past_its_pivot_goes_forward() {
    const CHARGE: Contract<u64, (), Pivot> = Contract::new("charge");
    const SHIP: Contract<(), (), Retriable> = Contract::new("ship");
    let mut saga = Saga::<Order>::builder("forward", 1);
    let charge = saga.step(&CHARGE, |order| order.cents);
    let ship = saga.step_after(&charge, &SHIP, |_, ()| ());
    saga.configure(&ship).retry(Retry::FOREVER);
    let mut harness = Harness::new(&saga.build().unwrap());
    harness.script(&CHARGE, Script::succeeds(())).script(&SHIP, Script::succeeds(()).after_errors(100));
    let run = harness.run("order-1", &order()).await;
    assert_eq!(run.outcome.status, Status::Completed, "{run}");
    assert_eq!(run.effects, ["charge executed", "ship executed"]);
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_run_again() {
    async fn stormy(seed: u64) -> String {
        let mut harness = healthy(&checkout());
        harness
            .seed(seed)
            .script(&INVENTORY, Script::succeeds(7).after_errors(2).after(Duration::from_millis(20)));
        let faults = Faults {
            drop: 0.3,
            duplicate: 0.3,
            delay: 0.5,
            reorder: 0.3,
            refuse: 0.2,
            ..Faults::seeded(seed)
        };
        harness.bus_faults(faults);
        let mut story = String::new();
        for id in ["order-1", "order-2", "order-3"] {
            let run = harness.run(id, &order()).await;
            assert!(run.outcome.status.is_ended(), "{run}");
            story += &format!("{}\n{run}{:?}\n", run.outcome.run, run.effects);
        }
        story
    }
    let first = stormy(1).await;
    assert_eq!(first, stormy(1).await);
    assert_ne!(first, stormy(2).await);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "has not come out within 3600s of virtual time")]
async fn a_saga_that_never_comes_out_is_an_error() {
    let mut saga = Saga::<Order>::builder("endless", 1);
    saga.step(&PAYMENT, |order| order.cents);
    let mut harness = Harness::new(&saga.build().unwrap());
    harness.script(&PAYMENT, Script::succeeds(String::new())).fault("payment", Fault::lose_replies());
    harness.time_limit(HOUR).run("order-1", &order()).await;
}

#[tokio::test]
#[should_panic(expected = "use #[tokio::test(start_paused = true)]")]
async fn real_time_is_an_error() {
    let _harness = Harness::new(&checkout());
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "nobody plays step \"mail\"")]
async fn a_step_without_a_participant_is_an_error() {
    let mut harness = Harness::new(&checkout());
    harness.script(&INVENTORY, Script::succeeds(7)).script(&PAYMENT, Script::succeeds(String::new()));
    harness.run("order-1", &order()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "has no step \"pyment\"")]
async fn a_fault_of_an_unknown_step_is_an_error() {
    Harness::new(&checkout()).fault("pyment", Fault::lose_replies());
}
