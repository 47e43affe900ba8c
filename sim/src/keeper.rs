//! Keeping processes alive: each slot has one life after the other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use saga_core::coordinator::Coordinator;
use saga_core::machine::Resend;
use saga_core::participant::Participant;
use saga_core::ports::{Clock, EventBus, Inbox, SagaLog};
use saga_core::{CoordinatorOptions, Error, Kind, ServeOptions};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bus::SimBus;
use crate::chance::{chance, happens};
use crate::clock::ProcessClock;
use crate::coverage::Fault;
use crate::definitions::{CAR, FLIGHT, HOTEL, LETTER, MAIL, PAYMENT, TICKET, known};
use crate::handlers::{System, Worker};
use crate::inbox::SimInbox;
use crate::laws::Law;
use crate::log::SimLog;
use crate::mutants::Mutant;
use crate::process::Process;
use crate::world::{World, lock};

const SKEW_MS_MAX: i64 = 3_600_000;

type Life = futures::future::BoxFuture<'static, Result<(), Error>>;

/// Lives all lives of a slot.
pub(crate) async fn keep(world: Arc<World>, slot: usize, begun: Instant) {
    let mut name: Arc<str> = world.plan.name(slot).into();
    for life in 0.. {
        let (stop, stopped) = oneshot::channel();
        let process = Arc::new(Process::new(&world, slot, life, Arc::clone(&name), stop));
        world.trace.say(&name, || "begins".to_owned());
        match begin(&process, stopped.map(drop)) {
            Ok(run) => live(&world, &process, run).await,
            Err(error) => world.breaks(Law::NoFailure.broken(format!("{name}: {error}"))),
        }
        {
            let mut slots = lock(&world.slots);
            (slots[slot].process, slots[slot].handles) = (None, Default::default());
        }
        lock(&world.store).process_died();
        let back = process.back();
        let heal_at = begun + world.plan.setup.heal_at;
        match back.map_or(Some(Duration::from_secs(1)), |back| back.after) {
            Some(after) if Instant::now() + after < heal_at => sleep(after).await,
            Some(_) => sleep_until(heal_at.min(Instant::now() + Duration::from_secs(1))).await,
            None => {
                world.coverage.fault(Fault::StayedAway);
                return;
            }
        }
        if back.is_some_and(|back| back.renamed) && slot < world.plan.setup.coordinators {
            world.coverage.fault(Fault::Renamed);
            name = format!("{}.{}", world.plan.name(slot), life + 1).into();
        }
    }
}

/// One life, to its end.
async fn live(world: &Arc<World>, process: &Arc<Process>, run: Life) {
    let mut task = tokio::spawn(run);
    let ended = tokio::select! {
        biased;
        () = process.died() => {
            task.abort();
            let _cancelled = task.await;
            return;
        }
        ended = &mut task => ended,
    };
    let name = &process.name;
    match ended {
        Ok(Ok(())) if process.back().is_some() => world.coverage.fault(Fault::Stopped),
        Ok(Err(error)) if error.is_retryable() => world.trace.say(name, || format!("gives up: {error}")),
        Ok(Ok(())) => world.breaks(Law::NoFailure.broken(format!("{name} ended by itself"))),
        Ok(Err(error)) => world.breaks(Law::NoFailure.broken(format!("{name}: {error}"))),
        Err(panic) => world.breaks(Law::NoFailure.broken(format!("{name}: {panic}"))),
    }
}

fn begin(process: &Arc<Process>, stopped: impl Future<Output = ()> + Send + 'static) -> Result<Life, Error> {
    let world = &process.world;
    let is_coordinator = process.slot < world.plan.setup.coordinators;
    let bus: Arc<dyn EventBus> = Arc::new(SimBus { process: Arc::clone(process) });
    let clock: Arc<dyn Clock> = Arc::new(ProcessClock {
        process: Arc::clone(process),
        clock: world.clock.clone(),
        skew_ms: skew_ms(process),
    });
    let life: Life = if is_coordinator {
        coordinator(process, bus, clock, stopped)?
    } else {
        participant(process, bus, clock)?.run(stopped).boxed()
    };
    let slot = &mut lock(&world.slots)[process.slot];
    slot.process = Some(Arc::clone(process));
    if let Some(armed) = slot.next_armed.take() {
        process.arm(armed);
    }
    Ok(life)
}

fn skew_ms(process: &Process) -> i64 {
    let mut rng = chance(process.world.plan.seed, ("skew", process.slot, process.life));
    if happens(&mut rng, 700) {
        return 0;
    }
    process.world.coverage.fault(Fault::Skewed);
    rng.i64(-SKEW_MS_MAX..=SKEW_MS_MAX)
}

fn coordinator(
    process: &Arc<Process>,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<Life, Error> {
    let world = &process.world;
    let setup = &world.plan.setup;
    // Somebody updates the second one whenever it comes back, and somebody else takes it back.
    let is_old = process.slot == 1 && process.life.is_multiple_of(2);
    if is_old && process.life > 0 {
        world.coverage.fault(Fault::Downgraded);
    }
    let definitions = known(process, is_old);
    let mut options = CoordinatorOptions::default();
    options.name = Arc::clone(&process.name);
    options.lease_ttl = setup.lease_ttl;
    options.wake_interval = setup.wake_interval;
    options.resend = Resend { first: setup.resend_first, max: setup.resend_first * 8 };
    options.sagas_in_flight_max = setup.sagas_in_flight_max;
    options.sagas_cached_max = setup.sagas_cached_max;
    if setup.is_narrow {
        (options.read_batch_max, options.unsettled_max) = (1, 2);
        options.append_batch_max = 1;
        (options.callbacks_in_flight_max, options.wake_batch_max) = (1, 1);
    }
    options.callback_time_max = Duration::from_secs(5);
    options.drain_max = Duration::from_secs(3);
    options.report_interval = Duration::from_secs(600);
    let nth = process.slot as u64 * 1_000 + process.life;
    options.run_id_seed = Some(match world.mutant {
        Some(Mutant::RunIdReused) => 7,
        _ => world.plan.seed.wrapping_mul(1 << 20).wrapping_add(nth),
    });
    let log: Arc<dyn SagaLog> = Arc::new(SimLog { process: Arc::clone(process) });
    let all = definitions.values().map(|saga| Arc::clone(saga.definition())).collect();
    let coordinator = Coordinator::new(bus, log, clock, all, options)?;
    let handles = definitions.iter().map(|(which, saga)| Ok((*which, coordinator.sagas(saga)?)));
    let handles = handles.collect::<Result<_, Error>>()?;
    lock(&world.slots)[process.slot].handles = handles;
    Ok(coordinator.run(stopped).boxed())
}

fn participant(
    process: &Arc<Process>,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
) -> Result<Participant, Error> {
    let inbox: Arc<dyn Inbox> = Arc::new(SimInbox { process: Arc::clone(process) });
    let mut participant = Participant::new(bus, inbox, clock);
    let mut options = ServeOptions::default();
    options.claim_hold = process.world.plan.setup.claim_hold;
    if process.world.plan.setup.is_narrow {
        (options.concurrency, options.commands_in_flight_max) = (1, 2);
    }
    options.claim_margin = Duration::from_millis(200);
    options.drain_max = Duration::from_secs(3);
    let worker = |kind, system| Worker { process: Arc::clone(process), kind, system };
    let payments = if process.world.plan.seed.is_multiple_of(2) { System::Bound } else { System::Strict };
    participant.serve(&FLIGHT, worker(Kind::Compensatable, System::Lenient), options.clone())?;
    participant.serve(&HOTEL, worker(Kind::Compensatable, System::Bound), options.clone())?;
    participant.serve(&CAR, worker(Kind::Compensatable, System::Strict), options.clone())?;
    participant.serve(&MAIL, worker(Kind::NoUndo, System::Bound), options.clone())?;
    participant.serve(&LETTER, worker(Kind::NoUndo, System::Strict), options.clone())?;
    participant.serve(&PAYMENT, worker(Kind::Pivot, payments), options.clone())?;
    participant.serve(&TICKET, worker(Kind::Retriable, System::Bound), options)?;
    Ok(participant)
}
