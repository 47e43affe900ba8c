//! What a definition computes, and what `build` refuses.

mod edges;
mod refused;
mod topics;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FailurePolicy, Saga, SagaBuilder};
use crate::contract::{Compensatable, Contract, Kind, NoUndo, Pivot, Retriable};
use crate::record::{Payload, Retry, StepIndex};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

const A: Contract<u64, u64> = Contract::new("a");
const B: Contract<String, String> = Contract::new("b");
const NO_UNDO: Contract<(), (), NoUndo> = Contract::new("mail").on_topic("shop.mail");
const PIVOT: Contract<u64, u64, Pivot> = Contract::new("pay");
const RETRIABLE: Contract<(u64, String), (), Retriable> = Contract::new("ship");

fn builder() -> SagaBuilder<Order> {
    Saga::builder("checkout", 1)
}

fn order() -> Order {
    Order { id: "12345".to_owned(), cents: 250 }
}

/// A saga of every kind: a and b, then the pivot, then the shipping; the mail beside them.
fn whole() -> Saga<Order> {
    let mut saga = builder();
    let a = saga.step(&A, |order| order.cents);
    let b = saga.step(&B, |order| order.id.clone());
    saga.step(&NO_UNDO, |_| ());
    let pay = saga.step_after((&a, &b), &PIVOT, |order, (a, _)| order.cents + a);
    saga.step_after((&pay, &b), &RETRIABLE, |_, outputs| outputs);
    saga.configure(&a).deadline(Duration::from_secs(5)).retry(Retry::DEFAULT.attempts(2));
    saga.build().unwrap()
}

#[test]
fn a_built_definition_has_what_was_declared() {
    let saga = whole();
    let definition = saga.definition();
    assert_eq!(definition.step_names().collect::<Vec<_>>(), ["a", "b", "mail", "pay", "ship"]);
    assert_eq!(definition.pivot, Some(StepIndex(3)));
    assert_eq!(definition.step_index("pay"), Some(StepIndex(3)));
    assert_eq!(definition.step_index("other"), None);
    assert_eq!(definition.replies.as_str(), "checkout.replies");
    assert_eq!(definition.policy, FailurePolicy::Grace(Duration::from_secs(10)));
    let mail = definition.step(StepIndex(2));
    assert_eq!((mail.topic.as_str(), mail.kind), ("shop.mail", Kind::NoUndo));
    let a = definition.step(StepIndex(0));
    assert_eq!(a.deadline, Some(Duration::from_secs(5)));
    assert_eq!(a.retry, Some(Retry::DEFAULT.attempts(2)));
    assert_eq!(a.dependents, [StepIndex(3)]);
    assert_eq!(definition.step(StepIndex(1)).dependents, [StepIndex(3), StepIndex(4)]);
    assert_eq!(definition.step(StepIndex(4)).after, [StepIndex(3), StepIndex(1)]);
}

#[test]
fn input_closures_take_typed_outputs_in_the_order_named() {
    let saga = whole();
    let definition = saga.definition();
    let input = definition.decode(&saga.encode_input(&order()).unwrap()).unwrap();
    let made = |step, outputs: &[&'static str]| {
        let outputs: Vec<_> = outputs.iter().map(|&output| Payload::from(output)).collect();
        let outputs: Vec<_> = outputs.iter().collect();
        definition.step_input(StepIndex(step), &input, &outputs)
    };
    assert_eq!(made(0, &[]).unwrap(), Payload::from("250"));
    assert_eq!(made(1, &[]).unwrap(), Payload::from("\"12345\""));
    assert_eq!(made(2, &[]).unwrap(), Payload::from("null"));
    assert_eq!(made(3, &["50", "\"b\""]).unwrap(), Payload::from("300"));
    assert_eq!(made(4, &["7", "\"b\""]).unwrap(), Payload::from("[7,\"b\"]"));
    let wrong = made(4, &["\"b\"", "7"]).unwrap_err().0;
    assert!(wrong.contains("it is not a u64"), "{wrong}");
}

#[test]
fn one_handle_and_a_slice_of_handles_give_their_outputs_too() {
    let mut saga = builder();
    let parts: Vec<_> = (0..20)
        .map(|n| {
            let part = saga.step(&A, move |order| order.cents + n);
            saga.configure(&part).named(&format!("part-{n}"));
            part
        })
        .collect();
    let sum = saga.step_after(&parts[..], &A, |_, parts| parts.into_iter().sum());
    saga.step_after(&sum, &B, |_, sum| sum.to_string());
    let saga = saga.build().unwrap();
    let input = saga.definition().decode(&saga.encode_input(&order()).unwrap()).unwrap();
    let part = Payload::from("3");
    let made = saga.definition().step_input(StepIndex(20), &input, &[&part; 20]).unwrap();
    assert_eq!(made, Payload::from("60"));
    let made = saga.definition().step_input(StepIndex(21), &input, &[&made]).unwrap();
    assert_eq!(made, Payload::from("\"60\""));
}

#[test]
fn a_panicking_closure_is_an_error_that_says_so() {
    let mut saga = builder();
    saga.step(&A, |order| 100 / (order.cents - 250));
    let saga = saga.build().unwrap();
    let input = saga.definition().decode(&saga.encode_input(&order()).unwrap()).unwrap();
    let error = saga.definition().step_input(StepIndex(0), &input, &[]).unwrap_err().0;
    assert!(error.contains("panicked: attempt to divide by zero"), "{error}");
}

#[test]
fn outputs_are_checked_against_the_contract() {
    let saga = whole();
    let check = saga.definition().step(StepIndex(0)).check_output;
    assert_eq!(check(&Payload::from(" 7 ")), Ok(()));
    assert!(check(&Payload::from("\"seven\"")).unwrap_err().contains("not a u64"));
}

#[test]
fn an_input_has_one_canonical_form() {
    let encoded = whole().encode_input(&order()).unwrap();
    assert_eq!(encoded, Payload::from(r#"{"cents":250,"id":"12345"}"#));
}

/// Logs keep this digest: a change here orphans the running instances of every user.
#[test]
fn the_digest_never_changes() {
    assert_eq!(whole().digest().to_string(), "eb3154a605b221fb");
}

#[test]
fn the_digest_tells_structures_apart_and_ignores_tuning() {
    fn digest(build: impl FnOnce(&mut SagaBuilder<Order>)) -> String {
        let mut saga = builder();
        build(&mut saga);
        saga.build().unwrap().digest().to_string()
    }
    fn pair(saga: &mut SagaBuilder<Order>) -> (super::StepRef<u64>, super::StepRef<String>) {
        (saga.step(&A, |order| order.cents), saga.step(&B, |order| order.id.clone()))
    }
    let plain = digest(|saga| {
        pair(saga);
    });
    let tuned = digest(|saga| {
        let (a, _) = pair(saga);
        saga.configure(&a).deadline(Duration::from_secs(1)).retry(Retry::NEVER);
        saga.deadline(Duration::from_secs(9)).on_first_failure(FailurePolicy::FailFast);
    });
    assert_eq!(plain, tuned);
    let named = digest(|saga| {
        let (a, _) = pair(saga);
        saga.configure(&a).named("other");
    });
    let swapped = digest(|saga| {
        saga.step(&B, |order| order.id.clone());
        saga.step(&A, |order| order.cents);
    });
    let chained = digest(|saga| {
        let a = saga.step(&A, |order| order.cents);
        saga.step_after(&a, &B, |order, _| order.id.clone());
    });
    let moved = digest(|saga| {
        saga.step(&A.on_topic("elsewhere"), |order| order.cents);
        saga.step(&B, |order| order.id.clone());
    });
    const A_NO_UNDO: Contract<u64, u64, NoUndo> = Contract::new("a");
    let of_another_kind = digest(|saga| {
        saga.step(&A_NO_UNDO, |order| order.cents);
        saga.step(&B, |order| order.id.clone());
    });
    let mut all = vec![plain, named, swapped, chained, moved, of_another_kind];
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn diagrams() {
    assert_eq!(
        whole().to_mermaid(),
        r#"flowchart LR
    begin(["checkout v1"])
    s0["a"]
    s1["b"]
    s2[/"mail<br/>no-undo"/]
    s3{{"pay<br/>pivot"}}
    s4("ship<br/>retriable")
    done(["completed"])
    begin --> s0
    begin --> s1
    begin --> s2
    s2 --> done
    s0 --> s3
    s1 --> s3
    s3 --> s4
    s1 --> s4
    s4 --> done
"#
    );
    assert_eq!(
        whole().to_dot(),
        r#"digraph "checkout" {
    rankdir=LR;
    begin [label="checkout v1", shape=oval];
    s0 [label="a", shape=box];
    s1 [label="b", shape=box];
    s2 [label="mail\nno-undo", shape=parallelogram];
    s3 [label="pay\npivot", shape=hexagon];
    s4 [label="ship\nretriable", shape=box, style=rounded];
    done [label="completed", shape=oval];
    begin -> s0;
    begin -> s1;
    begin -> s2;
    s2 -> done;
    s0 -> s3;
    s1 -> s3;
    s3 -> s4;
    s1 -> s4;
    s4 -> done;
}
"#
    );
}
