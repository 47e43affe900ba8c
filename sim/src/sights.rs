//! What is worth seeing in an append, and what must not be seen there.

use std::time::Duration;

use saga_core::ports::Append;
use saga_core::record::{Cause, Fact, Timestamp};

use crate::coverage::Sight;
use crate::laws::Law;
use crate::plan::Deed;
use crate::world::{World, lock};

pub(crate) fn see(world: &World, append: &Append) {
    for entry in &append.entries {
        if let Some(sight) = sight(&entry.fact) {
            world.coverage.sight(sight);
        }
        if matches!(
            entry.fact,
            Fact::TimedOut { .. } | Fact::Failing { cause: Cause::SagaDeadline, .. } | Fact::Overdue
        ) {
            check_take_over(world, append, &entry.fact);
        }
        if let Fact::TimedOut { step } = entry.fact {
            check_unread(world, append, step);
        }
    }
}

fn sight(fact: &Fact) -> Option<Sight> {
    Some(match fact {
        Fact::Ended { ending } => match ending {
            saga_core::Ending::Completed => Sight::Completed,
            saga_core::Ending::RolledBack => Sight::RolledBack,
            saga_core::Ending::Abandoned => Sight::Abandoned,
        },
        Fact::Parked { .. } => Sight::Parked,
        Fact::LateSuccess { .. } => Sight::LateSuccess,
        Fact::TimedOut { .. } => Sight::StepDeadline,
        Fact::Failing { cause: Cause::SagaDeadline, .. } => Sight::SagaDeadline,
        Fact::Failing { cause: Cause::Cancelled { .. }, .. } => Sight::Cancelled,
        Fact::Overdue => Sight::Overdue,
        Fact::WentForward => Sight::WentForward,
        Fact::UndoFailed { .. } => Sight::UndoFailed,
        Fact::Dispatched { round: 2.., .. } | Fact::UndoDispatched { round: 2.., .. } => Sight::LaterRound,
        Fact::Resolved { .. } => Sight::Resolved,
        Fact::Held { .. } => Sight::Held,
        Fact::HeldTaken => Sight::HeldTaken,
        _ => return None,
    })
}

/// After the log's clock has leapt, its time and that of the bus cannot be compared, nor those of coordinators of before and after.
fn leaps(world: &World) -> bool {
    world.plan.faults.iter().any(|fault| matches!(fault.deed, Deed::Leap { .. }))
}

/// A deadline fired: not right after the saga was taken over from somebody who may have left commands unsent.
fn check_take_over(world: &World, append: &Append, fact: &Fact) {
    let taken_over_at = lock(&world.seen).records[&append.key].taken_over_at;
    let since = taken_over_at.map(|at| at.elapsed());
    // Of several, one may still have a wake in hand from when the saga was its own.
    let is_alone = world.plan.setup.coordinators == 1;
    if let Some(since) = since.filter(|since| *since < SLACK && !leaps(world) && is_alone) {
        let how = format!("{}: {fact:?} {since:?} after it was taken over", append.key);
        world.breaks(Law::TakeOver.broken(how));
    }
}

/// How long they wait, less what it takes to append.
const SLACK: Duration = Duration::from_millis(1_500);

/// A deadline fired: no success may have been waiting for longer than that.
fn check_unread(world: &World, append: &Append, step: saga_core::record::StepIndex) {
    if leaps(world) {
        return;
    }
    let seen = lock(&world.seen);
    let record = &seen.records[&append.key];
    let dispatched = record.entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Dispatched { step: of, round, .. } if *of == step => Some((entry.at, *round)),
        _ => None,
    });
    let Some((at, round)) = dispatched else { return };
    let deadline = at.after(world.plan.setup.step_deadline);
    let name = crate::definitions::step_name(&append.key.saga, append.definition.version, step);
    let reply = format!("{}/{name}/execute/{round}/reply", append.run);
    let unread = seen.unread.iter().find(|(id, _)| id.as_str() == reply).map(|(_, since)| *since);
    let is_older = |since: Timestamp| since.as_millis() + MARGIN_MS < deadline.as_millis();
    if unread.is_some_and(is_older) {
        drop(seen);
        let how = format!("{}: step {name} timed out, and its reply was on the bus", append.key);
        world.breaks(Law::Unread.broken(how));
    }
}

/// How far the reckoning of a coordinator may be off.
const MARGIN_MS: u64 = 1_000;
