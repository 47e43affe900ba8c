//! Operators, who deal with what is parked, and whoever makes things go wrong.

use std::sync::Arc;
use std::time::Duration;

use saga_core::machine::StepState;
use saga_core::record::{Fact, RunId, Status};
use saga_core::{Kind, Payload, Resolution, Sagas};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::coverage::Fault as Struck;
use crate::driver::{handle, key};
use crate::handlers::output;
use crate::plan::{Deed, Fault, Load};
use crate::process::{Armed, End, Port, Slow};
use crate::world::{World, lock};

const ROUND: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(20);
/// After so many times of only trying again, operators say what a step is.
const RETRIES_MAX: usize = 4;

/// Looks after one saga. What an operator says of a step is true: they say it once nothing can be under way any more.
pub(crate) async fn operate(world: Arc<World>, load: Load, begun: Instant, quiet_at: Instant) {
    sleep_until(begun + load.at).await;
    for round in 0.. {
        sleep(ROUND).await;
        let Some(is_parked) = needs_help(&world, &load) else { continue };
        let version = lock(&world.seen).records[&key(&load)].definition.version;
        let Some(sagas) = handle(&world, load.saga, version, round) else { continue };
        let id = load.n.to_string();
        let is_quiet = Instant::now() > quiet_at;
        let verb = if is_parked && load.is_abandoned {
            timeout(PATIENCE, sagas.abandon(&id, "ann", "no patience")).await
        } else if is_parked && round % RETRIES_MAX == RETRIES_MAX - 1 && is_quiet {
            timeout(PATIENCE, resolve(&world, &sagas, &load)).await
        } else {
            timeout(PATIENCE, sagas.retry(&id, None, "ann", "again")).await
        };
        world.trace.say("ann", || format!("helps {}: {verb:?}", key(&load)));
    }
}

/// `Some(true)` when it is parked, `Some(false)` when only its callback was refused.
fn needs_help(world: &World, load: &Load) -> Option<bool> {
    let seen = lock(&world.seen);
    let record = seen.records.get(&key(load))?;
    if record.status == Status::Parked {
        return Some(true);
    }
    let is_refused = record.entries.iter().fold(false, |refused, entry| match entry.fact {
        Fact::CallbackRefused { .. } => true,
        Fact::Operated { .. } | Fact::CallbackAnswered => false,
        _ => refused,
    });
    is_refused.then_some(false)
}

/// Says what each stuck step is.
async fn resolve(world: &World, sagas: &Sagas<u32>, load: &Load) -> Result<(), saga_core::Error> {
    let id = load.n.to_string();
    let Some(view) = sagas.status(&id).await? else { return Ok(()) };
    for step in &view.steps {
        if !matches!(step.state, StepState::Stuck(_) | StepState::Failed(_) | StepState::Blocked(_)) {
            continue;
        }
        let resolution = truth(world, load, view.run, &step.name, step.kind);
        let _not_open = sagas.resolve(&id, &step.name, resolution, "ann", "I looked").await;
    }
    Ok(())
}

fn truth(world: &World, load: &Load, run: RunId, step: &Arc<str>, kind: Kind) -> Resolution {
    let mut ledger = lock(&world.ledger);
    let is_there = ledger.of(run, step).is_some_and(|book| book.is_there);
    match (kind, is_there) {
        (Kind::Compensatable | Kind::NoUndo, _) => {
            // By other means.
            ledger.undo(run, step, &key(load));
            Resolution::Undone
        }
        (Kind::Pivot, false) => Resolution::NoEffect,
        (Kind::Pivot | Kind::Retriable, is_there) => {
            if !is_there {
                ledger.execute_keyed(run, step, &key(load), true);
            }
            let output = output(world.plan.seed, load.n, step);
            Resolution::Done { output: Payload::json(&output).expect("a number is JSON") }
        }
    }
}

/// Makes things go wrong when it is time, and lets them heal.
pub(crate) async fn go_wrong(world: Arc<World>, begun: Instant) {
    for fault in world.plan.faults.clone() {
        sleep_until(begun + fault.at).await;
        strike(&world, &fault, begun);
        if let Deed::Garbage { count } = fault.deed {
            world.litter(count).await;
        }
    }
    sleep_until(begun + world.plan.setup.heal_at).await;
    world.trace.say("WORLD", || "heals".to_owned());
    *lock(&world.weather) = Default::default();
    world.log_clock.set_right();
    world.processes().iter().for_each(|process| process.heal());
}

fn strike(world: &World, fault: &Fault, begun: Instant) {
    world.trace.say("WORLD", || format!("{:?}", fault.deed));
    let heal_at = begun + world.plan.setup.heal_at;
    let until = |time: Duration| (Instant::now() + time).min(heal_at);
    match &fault.deed {
        Deed::Crash { slot, port, edge, nth, back } => {
            let armed = Armed { port: *port, edge: *edge, nth: *nth, end: End::Dies(*back) };
            let Some(process) = world.process(*slot) else { return };
            if *port == Port::Declare {
                // It does so only when it begins.
                lock(&world.slots)[*slot].next_armed = Some(armed);
                process.kill(*back);
            } else {
                process.arm(armed);
            }
        }
        Deed::Stall { slot, port, edge, nth, time } => {
            if let Some(process) = world.process(*slot) {
                process.arm(Armed { port: *port, edge: *edge, nth: *nth, end: End::StandsStill(*time) });
            }
        }
        Deed::Stop { slot, back } => {
            if let Some(process) = world.process(*slot) {
                process.stop(*back);
            }
        }
        Deed::Pause { slot, time } => {
            if let Some(process) = world.process(*slot) {
                process.pause(*time);
            }
        }
        Deed::Slow { slot, per_mille, max, time } => {
            if let Some(process) = world.process(*slot) {
                process.slow_down(Slow { per_mille: *per_mille, max: *max, until: until(*time) });
            }
        }
        Deed::Cut { slot, from, time } => {
            if let Some(process) = world.process(*slot) {
                process.cut(*from, until(*time).duration_since(Instant::now()));
            }
        }
        Deed::Rejoin { slot } => {
            if let Some(process) = world.process(*slot) {
                process.rejoin();
            }
        }
        Deed::BusStorm { storm, time } => lock(&world.weather).bus = Some((*storm, until(*time))),
        Deed::LogStorm { storm, time } => lock(&world.weather).log = Some((*storm, until(*time))),
        Deed::InboxStorm { per_mille, time } => {
            lock(&world.weather).inbox = Some((*per_mille, until(*time)));
        }
        Deed::Garbage { .. } => {}
        Deed::Leap { forward, by } => {
            let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            world.log_clock.leap(if *forward { by_ms } else { -by_ms });
            world.coverage.fault(if *forward { Struck::LeaptForward } else { Struck::LeaptBack });
        }
    }
}

/// From then on nothing that was sent or claimed before the healing can be under way any more.
pub(crate) fn quiet_at(world: &World, begun: Instant) -> Instant {
    let pauses = world.plan.faults.iter().map(|fault| match &fault.deed {
        Deed::Pause { time, .. } | Deed::Stall { time, .. } | Deed::Slow { max: time, .. } => *time,
        _ => Duration::ZERO,
    });
    let pause_max = pauses.max().unwrap_or_default();
    begun + world.plan.setup.heal_at + world.plan.late_max() + pause_max + world.plan.setup.claim_hold * 4
}
