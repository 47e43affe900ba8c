//! What the world must look like once everything has come to rest.

use saga_core::Kind;
use saga_core::machine::Instance;
use saga_core::record::{Fact, FenceAnswer, MessageId, RunId, SagaKey, Status};

use crate::driver::key;
use crate::laws::Law;
use crate::ledger::Book;
use crate::seen::Recorded;
use crate::world::{World, lock};

/// Checks all that can be checked at rest.
pub(crate) fn check(world: &World) {
    let records = lock(&world.seen).records.clone();
    for load in &world.plan.loads {
        let key = key(load);
        let Some(record) = records.get(&key) else {
            return world.breaks(Law::Ends.broken(format!("{key} was never started")));
        };
        let Some(instance) = world.replay(&key, record) else { return };
        if instance.status() != record.status {
            let how = format!("{key} replays as {}, and is filed as {}", instance.status(), record.status);
            return world.breaks(Law::Replay.broken(how));
        }
        check_saga(world, &key, record, &instance);
    }
    for (topic, id) in lock(&world.seen).litter.clone() {
        if !world.bus.dead_letters_of(&topic).iter().any(|letter| letter.message.id == id) {
            world
                .breaks(Law::NothingDropped.broken(format!("{id} of {topic} is not among the dead letters")));
        }
    }
    let runs: Vec<RunId> = records.values().map(|record| record.run).collect();
    for ((run, step), book) in lock(&world.ledger).all() {
        if !runs.contains(run) {
            let how =
                format!("{} {step} was executed for run {run}, of which the log knows nothing", book.key);
            world.breaks(Law::Durable.broken(how));
        }
    }
}

fn check_saga(world: &World, key: &SagaKey, record: &Recorded, instance: &Instance) {
    check_callback(world, key, record);
    check_announcements(world, key, record);
    check_cancel(world, key, record);
    let view = instance.view();
    for (at, step) in view.steps.iter().enumerate() {
        let ledger = lock(&world.ledger);
        let book = ledger.of(record.run, &step.name);
        let is_there = book.is_some_and(|book| book.is_there);
        let said = Said::read(record, at);
        let broken = if record.status == Status::Completed && !is_there {
            Law::NothingMissing.broken(format!("{key} completed, and step {} has no effect", step.name))
        } else if is_there && is_forbidden(record.status, step.kind, said) {
            let how = format!("{key} is {}, and the effect of step {} remains", record.status, step.name);
            Law::NothingLeft.broken(how)
        } else if let Some(undos) = undone_for_nothing(record.status, book) {
            Law::Cause.broken(format!("{key} completed, and step {} was undone {undos} times", step.name))
        } else {
            continue;
        };
        drop(ledger);
        world.breaks(broken);
    }
}

const fn undone_for_nothing(status: Status, book: Option<&Book>) -> Option<u32> {
    match (status, book) {
        (Status::Completed, Some(book)) if book.undos > 0 => Some(book.undos),
        _ => None,
    }
}

/// What the record says last of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    NoEffect,
    Done,
}

impl Said {
    fn read(record: &Recorded, at: usize) -> Self {
        record.entries.iter().fold(Self::Nothing, |said, entry| match &entry.fact {
            Fact::Undone { step } | Fact::Rejected { step, .. } if step.at() == at => Self::NoEffect,
            Fact::Fenced { step, answer: FenceAnswer::NoEffect } if step.at() == at => Self::NoEffect,
            Fact::Resolved { step, .. } if step.at() == at => Self::Nothing,
            Fact::Succeeded { step, .. } if step.at() == at => Self::Done,
            _ => said,
        })
    }
}

/// Whether a step's effect must not be there.
fn is_forbidden(status: Status, kind: Kind, said: Said) -> bool {
    match (status, kind) {
        (Status::RolledBack, Kind::Compensatable | Kind::Pivot) => true,
        _ => said == Said::NoEffect,
    }
}

fn check_callback(world: &World, key: &SagaKey, record: &Recorded) {
    let is_given_up = record.entries.iter().any(|entry| matches!(entry.fact, Fact::CallbackRefused { .. }));
    let is_called = lock(&world.seen).calls.contains_key(&record.run);
    if !is_called && !is_given_up {
        world.breaks(Law::OneCallback.broken(format!("{key} has ended, and nobody was called")));
    }
}

fn check_announcements(world: &World, key: &SagaKey, record: &Recorded) {
    for entry in &record.entries {
        if let Fact::Announced { announcement } = entry.fact {
            let id = MessageId::new(format!("{}/announce/{announcement}", record.run));
            if !lock(&world.seen).announced.contains(&id) {
                world.breaks(Law::Announced.broken(format!("{key}: {announcement}")));
            }
        }
    }
}

/// Who was told that a saga is being undone was told the truth, unless its pivot turned out to be done.
fn check_cancel(world: &World, key: &SagaKey, record: &Recorded) {
    let went_forward = record.entries.iter().any(|entry| matches!(entry.fact, Fact::WentForward));
    let was_told = lock(&world.seen).cancelling.contains(key);
    if was_told && record.status == Status::Completed && !went_forward {
        world.breaks(Law::Told.broken(format!("{key}: told that it is being undone, and it completed")));
    }
}
