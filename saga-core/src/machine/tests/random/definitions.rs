use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::Dice;
use crate::contract::{Compensatable, Contract, Kind, NoUndo, Pivot, Retriable, StepKind};
use crate::definition::{Definition, FailurePolicy, Saga, SagaBuilder, StepRef};
use crate::ports::MockCallback;
use crate::record::{Announcement, Ending, Retry};

const NAMES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// Which steps' input closures panic, one bit each.
pub(super) type Broken = Arc<AtomicU16>;

/// A saga of one to eight steps that `build` accepts.
pub(super) fn random_saga(dice: &mut Dice) -> (Arc<Definition>, Broken) {
    let count = 1 + dice.below(NAMES.len());
    let pivot = if dice.chance(60) { Some(dice.below(count)) } else { None };
    let broken = Broken::default();
    let mut saga = Saga::<u64>::builder("random", 1);
    let mut steps: Vec<(StepRef<u64>, Kind)> = Vec::new();
    for at in 0..count {
        let kind = kind_at(at, pivot, dice);
        let after: Vec<_> =
            steps.iter().filter(|(_, earlier)| waits(kind, *earlier, dice)).map(|(step, _)| *step).collect();
        let step = add(&mut saga, at, kind, &after, &broken);
        if kind != Kind::Retriable && dice.chance(40) {
            saga.configure(&step).deadline(Duration::from_secs(1 + dice.below(60) as u64));
        }
        steps.push((step, kind));
    }
    decorate(&mut saga, dice);
    (Arc::clone(saga.build().unwrap().definition()), broken)
}

fn kind_at(at: usize, pivot: Option<usize>, dice: &mut Dice) -> Kind {
    match pivot {
        Some(pivot) if at == pivot => Kind::Pivot,
        Some(pivot) if at > pivot => {
            if dice.chance(25) {
                Kind::NoUndo
            } else {
                Kind::Retriable
            }
        }
        _ => {
            if dice.chance(25) {
                Kind::NoUndo
            } else {
                Kind::Compensatable
            }
        }
    }
}

/// The pivot waits for all that can be undone, and what is retriable for the pivot; a no-undo step for neither pivot nor retriable.
fn waits(kind: Kind, earlier: Kind, dice: &mut Dice) -> bool {
    match (kind, earlier) {
        (Kind::Pivot, Kind::Compensatable) | (Kind::Retriable, Kind::Pivot) => true,
        (Kind::NoUndo, Kind::Pivot | Kind::Retriable) => false,
        _ => dice.chance(40),
    }
}

fn add(
    saga: &mut SagaBuilder<u64>,
    at: usize,
    kind: Kind,
    after: &[StepRef<u64>],
    broken: &Broken,
) -> StepRef<u64> {
    match kind {
        Kind::Compensatable => add_as::<Compensatable>(saga, at, after, broken),
        Kind::Pivot => add_as::<Pivot>(saga, at, after, broken),
        Kind::Retriable => add_as::<Retriable>(saga, at, after, broken),
        Kind::NoUndo => add_as::<NoUndo>(saga, at, after, broken),
    }
}

fn add_as<K: StepKind>(
    saga: &mut SagaBuilder<u64>,
    at: usize,
    after: &[StepRef<u64>],
    broken: &Broken,
) -> StepRef<u64> {
    let contract = Contract::<u64, u64, K>::new(NAMES[at]);
    let broken = Arc::clone(broken);
    saga.step_after(after, &contract, move |input, outputs: Vec<u64>| {
        if broken.load(Ordering::Relaxed) & (1 << at) != 0 {
            // Unlike `panic!`, this prints nothing.
            resume_unwind(Box::new("broken"));
        }
        input + outputs.iter().sum::<u64>()
    })
}

fn decorate(saga: &mut SagaBuilder<u64>, dice: &mut Dice) {
    match dice.below(3) {
        0 => saga.on_first_failure(FailurePolicy::Grace(Duration::from_secs(dice.below(20) as u64))),
        1 => saga.on_first_failure(FailurePolicy::FailFast),
        // Without a deadline `build` refuses it.
        _ => saga.on_first_failure(FailurePolicy::WaitAll).deadline(Duration::from_secs(90)),
    };
    if dice.chance(40) {
        saga.deadline(Duration::from_secs(1 + dice.below(120) as u64));
    }
    let all = [
        (Announcement::Unwinding, Ending::Abandoned),
        (Announcement::Completed, Ending::Completed),
        (Announcement::RolledBack, Ending::RolledBack),
    ];
    for (announcement, ending) in all {
        if dice.chance(50) {
            saga.announce(announcement, "news", |_, _| ());
        }
        if dice.chance(50) {
            saga.callback(ending, Arc::new(MockCallback::new()));
        }
    }
    if dice.chance(50) {
        saga.callback_retry(Retry::DEFAULT.attempts(2));
    }
}
