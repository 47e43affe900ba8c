//! What can happen next.

use saga_core::Kind;
use saga_core::machine::{Effect, Event};
use saga_core::record::{Action, Operation, Payload, Resolution, StepIndex, Verb};

use crate::config::{Fault, Handlers};
use crate::model::Model;
use crate::world::{Command, Filed, Outcome, Party, Second, Stage, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The start command is delivered.
    Start,
    /// A command is delivered.
    Deliver {
        step: usize,
        command: usize,
        run: Run,
    },
    /// An unsettled command is delivered again.
    Redeliver {
        step: usize,
        worker: usize,
        run: Run,
    },
    /// A handler does its work.
    Work {
        step: usize,
        worker: usize,
        outcome: Outcome,
    },
    /// The barrier is told how it went, and the reply is sent.
    Complete {
        step: usize,
        worker: usize,
    },
    /// The participant crashes; the delivery will come again.
    Crash {
        step: usize,
        worker: usize,
    },
    /// The time of the claim on a row is up.
    Expire {
        step: usize,
    },
    /// A coordinator gets a reply.
    Answer {
        step: usize,
        reply: usize,
        by: Who,
    },
    /// A reply that waited to be read was lost.
    Lose {
        step: usize,
        reply: usize,
    },
    /// A reply reaches a coordinator that does not know the definition.
    Hold {
        step: usize,
        reply: usize,
    },
    /// A participant forgets its row.
    Prune {
        step: usize,
    },
    /// What is owed is sent again.
    Resend,
    /// Time passes.
    Leap,
    /// The saga is woken.
    Wake,
    /// The second coordinator reads the saga.
    Read,
    Cancel {
        by: Who,
    },
    Operate {
        deed: Deed,
        by: Who,
    },
    /// The callback is made.
    Call {
        answer: Answer,
    },
}

/// How far a handler gets at once, if it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Through to its end.
    Through(Outcome),
    /// It is begun, and something will happen to it: a crash, or the end of its claim. While nothing does, nobody can tell it from one that
    /// begins later and runs through.
    Begun,
}

/// Which coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// One that decides on what the log holds now.
    First,
    /// One that decides on what it has read before.
    Second,
}

/// An operator's verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Retry,
    Done(usize),
    NoEffect(usize),
    Undone(usize),
    Abandon,
}

/// What comes of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Recorded,
    Failed,
    /// It was made and answered, and the coordinator crashed before it recorded that.
    Forgotten,
}

impl Deed {
    pub(crate) fn event(self) -> Event {
        let resolve = |step, resolution| Verb::Resolve { step: index(step), resolution };
        let verb = match self {
            Self::Retry => Verb::Retry { step: None },
            Self::Done(step) => resolve(step, Resolution::Done { output: output() }),
            Self::NoEffect(step) => resolve(step, Resolution::NoEffect),
            Self::Undone(step) => resolve(step, Resolution::Undone),
            Self::Abandon => Verb::Abandon,
        };
        Event::Operate(Operation { verb, who: "ann".into(), why: "because".into() })
    }
}

/// What every step returns.
pub(crate) fn output() -> Payload {
    Payload::from("5")
}

pub(crate) fn index(step: usize) -> StepIndex {
    StepIndex(u16::try_from(step).expect("there are few steps"))
}

pub(crate) fn possible(model: &Model, world: &World, acts: &mut Vec<Act>) {
    let Some(saga) = &world.saga else {
        if !world.is_start_settled {
            acts.push(Act::Start);
        }
        return;
    };
    for (step, party) in world.parties.iter().enumerate() {
        deliveries(model, world, step, party, acts);
        workers(model, world, step, party, acts);
        replies(world, step, party, acts);
        if world.left.has(Fault::Prune) && can_be_pruned(saga, step, party) {
            acts.push(Act::Prune { step });
        }
    }
    coordinators(world, saga, acts);
    operators(model, world, saga, acts);
}

/// How many deliveries of one step are worked on at once.
const WORKERS_MAX: usize = 2;

fn deliveries(model: &Model, world: &World, step: usize, party: &Party, acts: &mut Vec<Act>) {
    let can_begin = party.workers.len() < WORKERS_MAX && can_be_hit(model, world);
    for (at, command) in party.commands.iter().enumerate() {
        let runs = runs(model, world, party, command, can_begin);
        acts.extend(runs.into_iter().map(|run| Act::Deliver { step, command: at, run }));
    }
}

/// The ways in which a delivery can go.
fn runs(model: &Model, world: &World, party: &Party, command: &Command, can_begin: bool) -> Vec<Run> {
    let Some(action) = model.would_run(party, command) else { return vec![Run::Through(Outcome::Done)] };
    let mut runs: Vec<_> =
        outcomes(model, world, action, action == command.action).into_iter().map(Run::Through).collect();
    runs.extend(can_begin.then_some(Run::Begun));
    runs
}

/// Whether there are faults for one more handler that is begun to be hit by.
fn can_be_hit(model: &Model, world: &World) -> bool {
    let is_open = |party: &&Party| party.is_claimant_alive();
    let open = world.parties.iter().map(std::ops::Deref::deref).filter(is_open).count();
    let faults = world.left.count(Fault::Crash) + world.left.count(Fault::Expire);
    model.config.handlers != Handlers::Transactional && open < usize::from(faults)
}

fn workers(model: &Model, world: &World, step: usize, party: &Party, acts: &mut Vec<Act>) {
    for (worker, it) in party.workers.iter().enumerate() {
        let is_once_more = it.action != it.command.action;
        match it.stage {
            Stage::Waiting => {
                let runs = runs(model, world, party, &it.command, can_be_hit(model, world));
                acts.extend(runs.into_iter().map(|run| Act::Redeliver { step, worker, run }));
            }
            Stage::Running => {
                let outcomes = outcomes(model, world, it.action, !is_once_more);
                acts.extend(outcomes.into_iter().map(|outcome| Act::Work { step, worker, outcome }));
            }
            Stage::Acted(_) if is_once_more || !party.is_held_live(it.token) => {
                acts.push(Act::Complete { step, worker });
            }
            // It is to be hit by something.
            Stage::Acted(_) => {}
        }
        if it.stage != Stage::Waiting && world.left.has(Fault::Crash) {
            acts.push(Act::Crash { step, worker });
        }
    }
    let is_held = party.rows.iter().any(|row| row.is_held(party.row_now));
    // That the claim of someone who has crashed runs out is no further fault.
    if is_held && (!party.is_claimant_alive() || world.left.has(Fault::Expire)) {
        acts.push(Act::Expire { step });
    }
}

/// What a handler may come to. An undo that is done once more is tried until it succeeds, unless the configuration says otherwise.
fn outcomes(model: &Model, world: &World, action: Action, can_give_up: bool) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Done];
    let has = |fault| world.left.has(fault);
    if action == Action::Undo {
        if !can_give_up && has(Fault::GiveUp) {
            outcomes.push(Outcome::Failed { effect: false });
        }
        if has(Fault::UndoFail) {
            outcomes.push(Outcome::Again { effect: false });
            outcomes.extend(can_give_up.then_some(Outcome::Failed { effect: false }));
        }
    } else if action == Action::Execute {
        let effects: &[bool] =
            if model.config.handlers == Handlers::Keyed { &[false, true] } else { &[false] };
        outcomes.extend(has(Fault::Refuse).then_some(Outcome::Refused));
        if has(Fault::Fail) {
            outcomes.extend(effects.iter().map(|effect| Outcome::Failed { effect: *effect }));
        }
        if has(Fault::Again) {
            outcomes.extend(effects.iter().map(|effect| Outcome::Again { effect: *effect }));
        }
    }
    outcomes
}

fn replies(world: &World, step: usize, party: &Party, acts: &mut Vec<Act>) {
    for (reply, it) in party.replies.iter().enumerate() {
        acts.push(Act::Answer { step, reply, by: Who::First });
        if world.stale().is_some() {
            acts.push(Act::Answer { step, reply, by: Who::Second });
        }
        if it.unread_since.is_some() && world.left.has(Fault::Lose) {
            acts.push(Act::Lose { step, reply });
        }
        if world.left.has(Fault::Hold) {
            acts.push(Act::Hold { step, reply });
        }
    }
}

/// Rows are kept for as long as their commands can come: a step that may still be sent has its row.
fn can_be_pruned(saga: &Filed, step: usize, party: &Party) -> bool {
    let is_idle = party.workers.is_empty() && !party.rows[0].is_held(party.row_now);
    let is_finished = saga.instance.output(index(step)).is_some();
    is_idle && is_finished && party.horizon <= saga.instance.started_at()
}

fn coordinators(world: &World, saga: &Filed, acts: &mut Vec<Act>) {
    let owed = saga.instance.owed();
    if owed.iter().any(|effect| matches!(effect, Effect::Command { .. })) {
        acts.push(Act::Resend);
    }
    if owed.iter().any(|effect| matches!(effect, Effect::Callback { .. })) {
        acts.push(Act::Call { answer: Answer::Recorded });
        if world.left.has(Fault::CallbackFail) {
            acts.extend([Answer::Failed, Answer::Forgotten].map(|answer| Act::Call { answer }));
        }
    }
    if world.left.has(Fault::Leap) && saga.instance.next_deadline().is_some() {
        acts.push(Act::Leap);
    }
    // A held input is what makes it due at once.
    if saga.wake_at.is_some_and(|at| at <= world.now) {
        acts.push(Act::Wake);
    }
    if world.left.has(Fault::Stale) && matches!(world.second, Second::Away) {
        acts.push(Act::Read);
    }
}

fn operators(model: &Model, world: &World, saga: &Filed, acts: &mut Vec<Act>) {
    let mut push = |act: fn(Who) -> Act| {
        acts.push(act(Who::First));
        acts.extend(world.stale().map(|_| act(Who::Second)));
    };
    if world.left.has(Fault::Cancel) && !world.is_cancel_asked {
        push(|by| Act::Cancel { by });
    }
    if world.left.has(Fault::Retry) {
        push(|by| Act::Operate { deed: Deed::Retry, by });
    }
    if world.left.has(Fault::Abandon) && !saga.instance.status().is_ended() {
        push(|by| Act::Operate { deed: Deed::Abandon, by });
    }
    if !world.left.has(Fault::Resolve) {
        return;
    }
    for (step, shape) in model.config.steps.iter().enumerate() {
        // An operator who says what a step is has seen that nobody works on it any more.
        if !world.parties[step].workers.is_empty() {
            continue;
        }
        let deeds = match shape.kind {
            Kind::Compensatable | Kind::NoUndo => vec![Deed::Undone(step), Deed::Done(step)],
            Kind::Pivot => vec![Deed::NoEffect(step), Deed::Done(step)],
            Kind::Retriable => vec![Deed::Done(step)],
        };
        acts.extend(deeds.into_iter().map(|deed| Act::Operate { deed, by: Who::First }));
    }
}
