//! Drawing a plan from a seed.

use std::time::Duration;

use fastrand::Rng;

use super::{Back, BusStorm, Deed, Fault, Load, LogStorm, Plan, Server, Setup};
use crate::chance::{between, chance, happens, pick};
use crate::process::{Edge, Port};

/// How many times the timeouts a message can be late.
const LATE_FACTORS: [u64; 6] = [1, 1, 3, 10, 30, 100];
const HOUR: Duration = Duration::from_secs(3_600);

/// The plan of a seed.
pub(crate) fn draw(seed: u64) -> Plan {
    let setup = setup(&mut chance(seed, "setup"));
    let count = chance(seed, "loads").u32(2..=8);
    let loads = (0..count).map(|n| load(&mut chance(seed, ("load", n)), n, &setup)).collect();
    let count = chance(seed, "faults").u32(0..=30);
    let mut faults: Vec<_> = (0..count).map(|nth| fault(&mut chance(seed, ("fault", nth)), &setup)).collect();
    faults.sort_by_key(|fault| fault.at);
    Plan { seed, setup, loads, faults }
}

fn setup(rng: &mut Rng) -> Setup {
    Setup {
        coordinators: rng.usize(1..=3),
        participants: rng.usize(1..=3),
        lease_ttl: between(rng, 3_000, 10_000),
        wake_interval: Duration::from_millis(pick(rng, &[500, 1_000, 1_000, 2_000])),
        resend_first: between(rng, 1_000, 5_000),
        claim_hold: between(rng, 2_000, 8_000),
        step_deadline: between(rng, 2_000, 10_000),
        sagas_in_flight_max: pick(rng, &[1, 2, 3, 1_000]),
        sagas_cached_max: pick(rng, &[1, 4, 1_000]),
        is_narrow: happens(rng, 250),
        latency_max: Duration::from_millis(pick(rng, &[1, 5, 50, 200])),
        heal_at: between(rng, 20_000, 150_000),
    }
}

fn load(rng: &mut Rng, n: u32, setup: &Setup) -> Load {
    let (saga, version) = pick(rng, &[("trip", 1), ("trip", 2), ("order", 1), ("order", 1), ("notice", 1)]);
    let last_ms = u64::try_from(setup.heal_at.as_millis()).unwrap_or(u64::MAX) * 2 / 3;
    Load {
        n,
        saga,
        version,
        at: between(rng, 0, last_ms),
        by_message: rng.bool(),
        cancelled_after: happens(rng, 150).then(|| between(rng, 0, 8_000)),
        is_abandoned: happens(rng, 50),
    }
}

fn fault(rng: &mut Rng, setup: &Setup) -> Fault {
    let last_ms = u64::try_from(setup.heal_at.as_millis()).unwrap_or(u64::MAX);
    let at = between(rng, 0, last_ms);
    let slots = setup.coordinators + setup.participants;
    let slot = rng.usize(..slots);
    let lease_ms = u64::try_from(setup.lease_ttl.as_millis()).unwrap_or(u64::MAX);
    let hold_ms = u64::try_from(setup.claim_hold.as_millis()).unwrap_or(u64::MAX);
    let deed = match rng.u32(0..100) {
        0..28 => crash(rng, slot, setup),
        28..36 => stall(rng, slot, setup, 3 * lease_ms.max(hold_ms)),
        36..40 => Deed::Stop { slot, back: back(rng, slot, setup) },
        40..44 => Deed::Slow {
            slot,
            per_mille: rng.u32(50..=500),
            max: between(rng, 1_000, 2 * lease_ms.max(hold_ms)),
            time: between(rng, 1_000, 30_000),
        },
        44..52 => Deed::Pause { slot, time: between(rng, 100, 3 * lease_ms.max(hold_ms)) },
        52..62 => {
            let from = pick(rng, &[Server::Bus, Server::Log, Server::Inbox]);
            let is_coordinator = slot < setup.coordinators;
            let from = match from {
                Server::Log if !is_coordinator => Server::Inbox,
                Server::Inbox if is_coordinator => Server::Log,
                from => from,
            };
            Deed::Cut { slot, from, time: between(rng, 100, 30_000) }
        }
        62..67 => Deed::Rejoin { slot },
        67..82 => bus_storm(rng, setup),
        82..92 => Deed::LogStorm {
            storm: LogStorm {
                lost: rng.u32(0..=300),
                unknown: rng.u32(0..=300),
                conflict: rng.u32(0..=100),
                away: rng.u32(0..=300),
            },
            time: between(rng, 1_000, 30_000),
        },
        92..96 => Deed::InboxStorm { per_mille: rng.u32(50..=500), time: between(rng, 1_000, 20_000) },
        96..98 => Deed::Garbage { count: rng.u32(1..=3) },
        _ => Deed::Leap { forward: rng.bool(), by: HOUR },
    };
    Fault { at, deed }
}

fn crash(rng: &mut Rng, slot: usize, setup: &Setup) -> Deed {
    let (port, edge) = place(rng, slot, setup);
    Deed::Crash { slot, port, edge, nth: rng.u32(1..=4), back: back(rng, slot, setup) }
}

fn stall(rng: &mut Rng, slot: usize, setup: &Setup, max_ms: u64) -> Deed {
    let (port, edge) = match place(rng, slot, setup) {
        // Only who begins gets there.
        (Port::Declare, edge) => (Port::Sleep, edge),
        place => place,
    };
    Deed::Stall { slot, port, edge, nth: rng.u32(1..=4), time: between(rng, 100, max_ms) }
}

/// Somewhere that such a process gets to.
fn place(rng: &mut Rng, slot: usize, setup: &Setup) -> (Port, Edge) {
    let ports =
        if slot < setup.coordinators { &Port::OF_COORDINATORS[..] } else { &Port::OF_PARTICIPANTS[..] };
    (pick(rng, ports), if rng.bool() { Edge::Before } else { Edge::After })
}

fn back(rng: &mut Rng, slot: usize, setup: &Setup) -> Back {
    // The first coordinator always comes back, so that somebody is there.
    let may_stay_away = slot > 0 && slot < setup.coordinators;
    let after = (!may_stay_away || !happens(rng, 200)).then(|| between(rng, 0, 20_000));
    Back { after, renamed: rng.bool() }
}

fn bus_storm(rng: &mut Rng, setup: &Setup) -> Deed {
    let deadline_ms = u64::try_from(setup.step_deadline.as_millis()).unwrap_or(u64::MAX);
    let storm = BusStorm {
        lost: rng.u32(0..=300),
        doubled: rng.u32(0..=300),
        late: rng.u32(0..=300),
        unknown: rng.u32(0..=200),
        late_max: Duration::from_millis(deadline_ms * pick(rng, &LATE_FACTORS)),
    };
    Deed::BusStorm { storm, time: between(rng, 1_000, 60_000) }
}
