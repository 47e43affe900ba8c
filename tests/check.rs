//! Sagas in a log, held against the definitions of a build: those that they were written with, and changed ones.

use std::sync::Arc;

use saga::machine::{Event, Instance};
use saga::memory::MemoryLog;
use saga::ports::{Append, SagaLog};
use saga::record::{Action, Report, RunId, SagaId, SagaKey, StepIndex};
use saga::{Contract, FindingKind, NoUndo, Payload, Saga, Timestamp, check};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize)]
struct Order {
    cents: u64,
}

const PRICE: Contract<u64, u64, NoUndo> = Contract::new("price");
const MAIL: Contract<u64, (), NoUndo> = Contract::new("mail");

fn checkout(version: u32) -> Saga<Order> {
    let mut saga = Saga::<Order>::builder("checkout", version);
    let price = saga.step(&PRICE, |order| order.cents);
    saga.step_after(&price, &MAIL, |_, price| price);
    saga.build().unwrap()
}

/// A log with one saga that has its first step done and its second one sent.
async fn log() -> MemoryLog {
    let log = MemoryLog::new();
    let (saga, at) = (checkout(1), Timestamp::from_millis(1));
    let input = saga.encode_input(&Order { cents: 250 }).unwrap();
    let (mut instance, mut entries) =
        Instance::start(Arc::clone(saga.definition()), RunId::from_u128(7), input, None, at);
    let report = Report::Succeeded { output: Payload::json(&json!(250)).unwrap() };
    let reply = Event::Reply { step: StepIndex(0), action: Action::Execute, round: 1, report };
    entries.extend(instance.decide(reply, at).unwrap());
    let append = Append {
        key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
        run: instance.run(),
        definition: saga.id().clone(),
        expected: 0,
        entries,
        status: instance.status(),
        wake_at: None,
        owner: None,
        settled: None,
    };
    log.append(vec![append]).await.pop().unwrap().unwrap();
    log
}

/// What is found with this definition: how bad, and what.
async fn found<In>(saga: &Saga<In>) -> Vec<(FindingKind, String)> {
    let checked = check(&log().await, &[saga.definition()]).await.unwrap();
    assert_eq!(checked.sagas, 1);
    let is_bad = checked.findings.iter().any(|finding| finding.kind != FindingKind::Drifted);
    assert_eq!(checked.is_sound(), !is_bad);
    checked.findings.into_iter().map(|finding| (finding.kind, finding.to_string())).collect()
}

#[tokio::test]
async fn what_has_not_changed_would_run() {
    assert_eq!(found(&checkout(1)).await, []);
    let empty = check(&MemoryLog::new(), &[]).await.unwrap();
    assert_eq!((empty.sagas, empty.is_sound()), (0, true));
}

#[tokio::test]
async fn a_definition_that_is_not_there_any_more_is_missed() {
    let [(FindingKind::Unregistered, text)] = &found(&checkout(2)).await[..] else { panic!("one is missed") };
    assert!(text.contains("saga checkout/12345 would wait") && text.contains("keep it until"), "{text}");
}

#[tokio::test]
async fn steps_changed_under_the_same_version_are_told() {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    saga.step(&PRICE, |order| order.cents);
    saga.step(&MAIL, |order| order.cents);
    let [(FindingKind::Unregistered, text)] = &found(&saga.build().unwrap()).await[..] else {
        panic!("one is missed")
    };
    assert!(text.contains("its steps were changed"), "{text}");
}

#[tokio::test]
async fn an_output_that_cannot_be_read_any_more_breaks() {
    const PRICE: Contract<u64, String, NoUndo> = Contract::new("price");
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let price = saga.step(&PRICE, |order| order.cents);
    saga.step_after(&price, &MAIL, |_, price| price.len() as u64);
    let [(FindingKind::Broken, text)] = &found(&saga.build().unwrap()).await[..] else { panic!("it breaks") };
    assert!(text.contains("would not run: the output of step price cannot be read"), "{text}");
}

#[tokio::test]
async fn an_input_that_cannot_be_read_any_more_breaks() {
    #[derive(Serialize, Deserialize)]
    struct Order {
        cents: u64,
        currency: String,
    }
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let price = saga.step(&PRICE, |order| order.cents);
    saga.step_after(&price, &MAIL, |order, price| price + order.currency.len() as u64);
    let [(FindingKind::Broken, text)] = &found(&saga.build().unwrap()).await[..] else { panic!("it breaks") };
    assert!(text.contains("currency"), "{text}");
}

#[tokio::test]
async fn a_closure_that_makes_something_else_has_drifted() {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let price = saga.step(&PRICE, |order| order.cents);
    saga.step_after(&price, &MAIL, |_, price| price + 1);
    let [(FindingKind::Drifted, text)] = &found(&saga.build().unwrap()).await[..] else {
        panic!("it drifts")
    };
    assert!(text.contains("the input closure of step mail makes another input"), "{text}");
}
