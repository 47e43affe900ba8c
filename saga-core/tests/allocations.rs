//! How often the machine asks for memory, and for how much, so that it is seen when it begins to ask for more. Counts, not times: they are the
//! same on every machine.

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use saga_core::machine::{Event, Instance, Resend};
use saga_core::record::{Action, Report, RunId, StepIndex};
use saga_core::{Contract, Payload, Saga, Timestamp};

/// The most that these may differ from what was recorded, in percent. Whoever makes it better records that.
const TOLERANCE: u64 = 10;

/// How many steps, and the allocations and bytes of such a saga.
const RECORDED: [(usize, [u64; 2]); 2] = [(4, [24, 6_452]), (64, [276, 102_812])];

const CONTRACT: Contract<String, u64> = Contract::new("step");

fn saga(steps: usize) -> Saga<String> {
    let mut saga = Saga::<String>::builder("counted", 1);
    for step in 0..steps {
        let one = saga.step(&CONTRACT, String::clone);
        saga.configure(&one).named(&format!("step-{step}"));
    }
    saga.build().unwrap()
}

/// Runs a saga to its end as a coordinator would: after each event it looks at what is owed, and when it is to be woken.
fn run(saga: &Saga<String>, input: &Payload, outputs: &[Payload]) {
    let now = Timestamp::from_millis(1_000_000);
    let definition = Arc::clone(saga.definition());
    let (mut instance, entries) = Instance::start(definition, RunId::from_u128(1), input.clone(), None, now);
    assert_eq!(instance.newly_owed(&entries).len(), outputs.len());
    for (step, output) in outputs.iter().enumerate() {
        let (step, report) = (StepIndex(step as u16), Report::Succeeded { output: output.clone() });
        let entries = instance.decide(Event::Reply { step, action: Action::Execute, round: 1, report }, now);
        assert!(instance.newly_owed(&entries.unwrap()).is_empty());
        instance.wake_at(now, &Resend::DEFAULT);
    }
    assert!(instance.settled().is_some());
}

/// Allocations and bytes of one saga of so many parallel steps of 300 B each.
fn cost(steps: usize) -> [u64; 2] {
    let (saga, input) = (saga(steps), Payload::json(&"x".repeat(300)).unwrap());
    let outputs: Vec<_> = (0..steps).map(|step| Payload::json(&(step as u64)).unwrap()).collect();
    run(&saga, &input, &outputs);
    let AllocationInfo { count_total, bytes_total, .. } = measure(|| run(&saga, &input, &outputs));
    [count_total, bytes_total]
}

#[test]
fn a_saga_takes_no_more_than_was_recorded() {
    for (steps, recorded) in RECORDED {
        let counted = cost(steps);
        let is_about =
            |(counted, recorded): (&u64, u64)| counted.abs_diff(recorded) * 100 <= recorded * TOLERANCE;
        assert!(
            counted.iter().zip(recorded).all(is_about),
            "of {steps} steps: allocations and bytes are {counted:?}, recorded are {recorded:?}"
        );
    }
}
