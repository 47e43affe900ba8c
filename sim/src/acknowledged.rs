//! Nothing is acknowledged before its consequences are durable: what is acknowledged has nothing left to say to who reads it again.

use std::sync::Arc;

use saga_core::Message;
use saga_core::machine::{Event, Instance};
use saga_core::ports::{Claim, ClaimAnswer, Clock, Effects, Task};
use saga_core::record::Fact;
use saga_core::wire::{Command, Reply};

use crate::laws::Law;
use crate::world::{World, lock};

/// Checks a message that a coordinator acknowledges.
pub(crate) fn by_coordinator(world: &World, message: &Message) {
    let Ok(Some(reply)) = Reply::parse(message) else { return };
    let Some(record) = lock(&world.seen).records.get(&reply.key).cloned() else { return };
    let Some(instance) = world.replay(&reply.key, &record) else { return };
    let held = record.entries.iter().fold(0, |held, entry| match entry.fact {
        Fact::Held { .. } => held + 1,
        Fact::HeldTaken => held - 1,
        _ => held,
    });
    if held == 0 && reply.run == record.run && says_something(world, instance, &reply) {
        let how = format!("{} is acknowledged, and the log does not have it", message.id);
        world.breaks(Law::Acknowledged.broken(how));
    }
}

fn says_something(world: &World, mut instance: Instance, reply: &Reply) -> bool {
    let Some(step) = instance.definition().step_index(&reply.step) else { return false };
    let event = Event::Reply { step, action: reply.action, round: reply.round, report: reply.report.clone() };
    instance.decide(event, world.log_clock.now()).is_ok_and(|entries| !entries.is_empty())
}

/// Checks a command that a participant acknowledges.
pub(crate) fn by_participant(world: &World, message: &Message) {
    let Ok(command) = Command::parse(message) else { return };
    let claim = Claim {
        task: Task { run: command.run, step: Arc::clone(&command.step) },
        action: command.action,
        round: command.round,
        known: command.known,
        dispatched_at: command.dispatched_at,
        hold: world.plan.setup.claim_hold,
        effects: Effects::Anywhere,
    };
    let answer = lock(&world.store).would_answer(&claim, world.clock.now());
    // A step that lost its row and was undone is undone once more for every copy of its command.
    if matches!(answer, ClaimAnswer::Run { action, .. } if action == command.action) {
        let how = format!("{} is acknowledged, and would be run if it came again", message.id);
        world.breaks(Law::Acknowledged.broken(how));
    }
}
