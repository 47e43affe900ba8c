//! The sagas that are run: fan-out and fan-in in two versions, a pivot with what follows it, and steps that cannot be undone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use saga_core::definition::StartRequest;
use saga_core::record::StepIndex;
use saga_core::{
    Announcement, CancelRequest, Contract, Ending, FailurePolicy, NoUndo, Pivot, Retriable, Retry, Saga,
    SagaBuilder, StepRef,
};
use serde::{Deserialize, Serialize};

use crate::callback::Told;
use crate::process::Process;

/// What a step is given: the saga's number, and what the steps before it returned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) n: u32,
    pub(crate) got: Vec<u64>,
}

pub(crate) const FLIGHT: Contract<Ask, u64> = Contract::new("flight");
pub(crate) const HOTEL: Contract<Ask, u64> = Contract::new("hotel");
pub(crate) const CAR: Contract<Ask, u64> = Contract::new("car");
pub(crate) const MAIL: Contract<Ask, u64, NoUndo> = Contract::new("mail");
pub(crate) const LETTER: Contract<Ask, u64, NoUndo> = Contract::new("letter");
pub(crate) const PAYMENT: Contract<Ask, u64, Pivot> = Contract::new("payment");
pub(crate) const TICKET: Contract<Ask, u64, Retriable> = Contract::new("ticket");

/// Every saga and version.
pub(crate) const ALL: [(&str, u32); 4] = [("trip", 1), ("trip", 2), ("order", 1), ("notice", 1)];

const STEP_RETRY: Retry =
    Retry::DEFAULT.attempts(4).delays(Duration::from_millis(100), Duration::from_millis(1_000));

/// The definitions of a process, by name and version.
pub(crate) type Definitions = BTreeMap<(&'static str, u32), Saga<u32>>;

/// Those that a coordinator knows; without the newest version if it is an old one.
pub(crate) fn known(process: &Arc<Process>, is_old: bool) -> Definitions {
    let known = ALL.iter().filter(|(_, version)| !is_old || *version == 1);
    known.map(|(name, version)| ((*name, *version), define(process, name, *version))).collect()
}

fn define(process: &Arc<Process>, name: &'static str, version: u32) -> Saga<u32> {
    let mut saga = Saga::<u32>::builder(name, version);
    let deadline = process.world.plan.setup.step_deadline;
    match (name, version) {
        ("trip", 1) => trip(&mut saga, deadline),
        ("trip", _) => newer_trip(&mut saga, deadline),
        ("order", _) => order(&mut saga, deadline),
        _ => notice(&mut saga, deadline),
    }
    saga.trigger(&format!("{name}.placed"), |message| {
        let n: u32 = message.payload.parse()?;
        Ok(StartRequest { id: n.to_string().parse()?, input: n })
    });
    saga.cancel_on(&format!("{name}.cancelled"), |message| {
        let n: u32 = message.payload.parse()?;
        Ok(CancelRequest { id: n.to_string().parse()?, why: "by message".into() })
    });
    for when in
        [Announcement::Unwinding, Announcement::Completed, Announcement::RolledBack, Announcement::Abandoned]
    {
        saga.announce(when, &format!("{name}.news"), |n, _| *n);
    }
    for ending in [Ending::Completed, Ending::RolledBack, Ending::Abandoned] {
        saga.callback(ending, Arc::new(Told { process: Arc::clone(process) }));
    }
    saga.build().unwrap_or_else(|error| panic!("{name} {version}: {error}"))
}

fn first(n: &u32) -> Ask {
    Ask { n: *n, got: Vec::new() }
}

fn then(n: &u32, got: Vec<u64>) -> Ask {
    Ask { n: *n, got }
}

/// Tried without end: where an effect can come after the undo, undoing once more must not be given up.
fn endless(saga: &mut SagaBuilder<u32>, step: &StepRef<u64>) {
    let retry = Retry::FOREVER.delays(STEP_RETRY.delay_first, STEP_RETRY.delay_max);
    saga.configure(step).retry(retry);
}

fn set(saga: &mut SagaBuilder<u32>, steps: &[StepRef<u64>], deadline: Duration) {
    for step in steps {
        saga.configure(step).deadline(deadline).retry(STEP_RETRY);
    }
}

fn trip(saga: &mut SagaBuilder<u32>, deadline: Duration) {
    let flight = saga.step(&FLIGHT, first);
    let hotel = saga.step(&HOTEL, first);
    let car = saga.step_after(&[flight, hotel][..], &CAR, then);
    set(saga, &[flight, hotel, car], deadline);
    endless(saga, &flight);
    saga.on_first_failure(FailurePolicy::Grace(deadline / 2));
}

fn newer_trip(saga: &mut SagaBuilder<u32>, deadline: Duration) {
    let flight = saga.step(&FLIGHT, first);
    let hotel = saga.step(&HOTEL, first);
    let car = saga.step(&CAR, first);
    let mail = saga.step_after(&[flight, hotel, car][..], &MAIL, then);
    set(saga, &[flight, hotel, car, mail], deadline);
    endless(saga, &flight);
    saga.on_first_failure(FailurePolicy::FailFast);
}

fn order(saga: &mut SagaBuilder<u32>, deadline: Duration) {
    let stock = saga.step(&HOTEL, first);
    saga.configure(&stock).named("stock");
    let payment = saga.step_after(&[stock][..], &PAYMENT, then);
    let ticket = saga.step_after(&[payment][..], &TICKET, then);
    let parcel = saga.step_after(&[payment][..], &TICKET, then);
    saga.configure(&parcel).named("parcel");
    saga.configure(&stock).retry(STEP_RETRY);
    set(saga, &[payment], deadline);
    saga.configure(&ticket).retry(STEP_RETRY);
    saga.configure(&parcel).retry(STEP_RETRY);
    saga.deadline(deadline);
}

fn notice(saga: &mut SagaBuilder<u32>, deadline: Duration) {
    let flight = saga.step(&FLIGHT, first);
    let mail = saga.step(&MAIL, first);
    let letter = saga.step_after(&[mail][..], &LETTER, then);
    let hotel = saga.step_after(&[flight, letter][..], &HOTEL, then);
    set(saga, &[flight, mail, letter, hotel], deadline);
    endless(saga, &flight);
    saga.on_first_failure(FailurePolicy::WaitAll);
    saga.deadline(deadline * 3);
}

/// The name of a step, by its place.
pub(crate) fn step_name(saga: &str, version: u32, step: StepIndex) -> &'static str {
    let names: &[&str] = match (saga, version) {
        ("trip", 1) => &["flight", "hotel", "car"],
        ("trip", _) => &["flight", "hotel", "car", "mail"],
        ("order", _) => &["stock", "payment", "ticket", "parcel"],
        _ => &["flight", "mail", "letter", "hotel"],
    };
    names[step.at()]
}
