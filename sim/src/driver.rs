//! Those who use the sagas: callers who start, cancel and await them.

use std::sync::Arc;
use std::time::Duration;

use saga_core::record::{SagaKey, Topic};
use saga_core::{CancelAnswer, Message, Outcome, Payload, Sagas, StartError, Started};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::chance::chance;
use crate::coverage::Sight;
use crate::laws::Law;
use crate::plan::Load;
use crate::world::{World, lock};

/// How long a caller waits for an answer before it asks somebody else.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(900);

/// The key of a saga to be started.
pub(crate) fn key(load: &Load) -> SagaKey {
    SagaKey { saga: load.saga.into(), id: load.n.to_string().parse().expect("a number is an id") }
}

/// A handle of some coordinator that lives and knows this version; another one at each attempt.
pub(crate) fn handle(world: &World, saga: &str, version: u32, attempt: usize) -> Option<Sagas<u32>> {
    let slots = lock(&world.slots);
    let count = world.plan.setup.coordinators;
    let mut known = (0..count).map(|nth| &slots[(nth + attempt) % count]);
    known
        .find_map(|slot| slot.handles.iter().find(|((name, of), _)| *name == saga && *of == version))
        .map(|(_, it)| it.clone())
}

/// Starts a saga, and sees to it that what it is told stays true.
pub(crate) async fn use_saga(world: Arc<World>, load: Load, begun: Instant, healthy_at: Instant) {
    sleep_until(begun + load.at).await;
    if load.by_message {
        let message = message(&world, &load, "placed");
        world.send("user", vec![message]).await;
    } else {
        start(&world, &load).await;
        let again = chance(world.plan.seed, ("again", load.n)).bool();
        if again {
            start(&world, &load).await;
        }
    }
    if let Some(after) = load.cancelled_after {
        sleep(after).await;
        cancel(&world, &load).await;
    }
    if load.n.is_multiple_of(2) {
        await_outcome(&world, &load, healthy_at).await;
    }
}

fn message(world: &World, load: &Load, what: &str) -> Message {
    let topic = Topic::new(format!("{}.{what}", load.saga)).expect("a topic's name");
    let payload = Payload::json(&load.n).expect("a number is JSON");
    Message::new(topic, payload).with_id(format!("{}-{}-{what}", world.plan.seed, load.n))
}

async fn start(world: &World, load: &Load) {
    for attempt in load.n as usize.. {
        let Some(sagas) = handle(world, load.saga, load.version, attempt) else {
            sleep(PAUSE).await;
            continue;
        };
        if world.unfinished() >= world.plan.setup.sagas_in_flight_max {
            world.coverage.sight(Sight::AdmissionFull);
        }
        match timeout(PATIENCE, sagas.start(load.n.to_string(), &load.n)).await {
            Ok(Ok(started)) => return started_as(world, load, started),
            Ok(Err(error @ (StartError::InputDiffers { .. } | StartError::InvalidId(_)))) => {
                return world.breaks(Law::Told.broken(format!("{}: {error}", key(load))));
            }
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}

fn started_as(world: &World, load: &Load, started: Started) {
    world.trace.say("user", || format!("started {}: {started:?}", key(load)));
    if !started.is_new {
        world.coverage.sight(Sight::StartRepeated);
    }
    let run = lock(&world.seen).records.get(&key(load)).map(|record| record.run);
    if run != Some(started.run) {
        let how = format!("{} was said to be started as run {}; the log has {run:?}", key(load), started.run);
        world.breaks(Law::Durable.broken(how));
    }
}

async fn cancel(world: &Arc<World>, load: &Load) {
    if load.by_message {
        let message = message(world, load, "cancelled");
        world.send("user", vec![message]).await;
        return;
    }
    for attempt in 0..6 {
        if let Some(sagas) = handle(world, load.saga, load.version, attempt)
            && let Ok(Ok(answer)) =
                timeout(PATIENCE, sagas.cancel(load.n.to_string(), "user", "changed my mind")).await
        {
            if answer == CancelAnswer::Cancelling {
                lock(&world.seen).cancelling.insert(key(load));
            }
            world.trace.say("user", || format!("cancels {}: {answer:?}", key(load)));
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn await_outcome(world: &World, load: &Load, healthy_at: Instant) {
    for attempt in 0.. {
        let is_ended =
            lock(&world.seen).records.get(&key(load)).is_some_and(|record| record.status.is_ended());
        let must_answer = is_ended && Instant::now() > healthy_at;
        if let Some(sagas) = handle(world, load.saga, load.version, attempt) {
            match timeout(PATIENCE * 2, sagas.outcome(load.n.to_string())).await {
                Ok(Ok(outcome)) => {
                    told(world, load, &outcome);
                    if outcome.status.is_ended() {
                        return;
                    }
                }
                Ok(Err(_)) => {}
                Err(_) if must_answer => {
                    let how = format!("{}: nobody tells how it came out", key(load));
                    return world.breaks(Law::Answered.broken(how));
                }
                Err(_) => {}
            }
        }
        sleep(PAUSE * 5).await;
    }
}

fn told(world: &World, load: &Load, outcome: &Outcome) {
    world.trace.say("user", || format!("is told of {}: {}", key(load), outcome.status));
    world.coverage.sight(Sight::OutcomeTold);
    let seen = lock(&world.seen);
    let recorded = seen.records.get(&key(load)).map(|record| (record.run, record.status));
    let is_true = recorded.is_some_and(|(run, status)| {
        run == outcome.run && (status == outcome.status || !outcome.status.is_ended())
    });
    drop(seen);
    if !is_true {
        let how = format!(
            "{}: told {} of run {}; recorded is {recorded:?}",
            key(load),
            outcome.status,
            outcome.run
        );
        world.breaks(Law::Told.broken(how));
    }
}
