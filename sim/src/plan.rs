//! What a seed plans: who is there, what is to be done, and what goes wrong when.

mod draw;

use std::fmt;
use std::time::Duration;

use crate::process::{Edge, Port};

pub(crate) use draw::draw;

/// A run, before it is run. Leaving faults or sagas out leaves the rest as it was.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) loads: Vec<Load>,
    pub(crate) faults: Vec<Fault>,
}

/// Who is there, and how they are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) coordinators: usize,
    pub(crate) participants: usize,
    pub(crate) lease_ttl: Duration,
    pub(crate) wake_interval: Duration,
    pub(crate) resend_first: Duration,
    pub(crate) claim_hold: Duration,
    pub(crate) step_deadline: Duration,
    pub(crate) sagas_in_flight_max: usize,
    pub(crate) sagas_cached_max: usize,
    /// Every other limit is as low as it can be: one of each at a time.
    pub(crate) is_narrow: bool,
    /// How long a call to a port may take while nothing is wrong.
    pub(crate) latency_max: Duration,
    /// From then on nothing goes wrong any more.
    pub(crate) heal_at: Duration,
}

/// A saga to be started.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) n: u32,
    pub(crate) saga: &'static str,
    pub(crate) version: u32,
    pub(crate) at: Duration,
    pub(crate) by_message: bool,
    /// Somebody cancels it, so long after its start.
    pub(crate) cancelled_after: Option<Duration>,
    /// An operator who finds it parked loses patience.
    pub(crate) is_abandoned: bool,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) deed: Deed,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// The process dies the nth time that it gets there.
    Crash { slot: usize, port: Port, edge: Edge, nth: u32, back: Back },
    /// It stands still from the nth time that it gets there.
    Stall { slot: usize, port: Port, edge: Edge, nth: u32, time: Duration },
    /// It is told to stop, drains, and comes back.
    Stop { slot: usize, back: Back },
    /// It stands still, as under SIGSTOP.
    Pause { slot: usize, time: Duration },
    /// It does not reach the bus, the log or the inbox.
    Cut { slot: usize, from: Server, time: Duration },
    /// Its calls take long, while it goes on with everything else.
    Slow { slot: usize, per_mille: u32, max: Duration, time: Duration },
    /// The broker takes back what it has not settled, and it joins its groups anew.
    Rejoin { slot: usize },
    /// Messages are lost, doubled, late, or of unknown fate.
    BusStorm { storm: BusStorm, time: Duration },
    /// Appends are lost, unknown or refused.
    LogStorm { storm: LogStorm, time: Duration },
    /// The inbox does not answer, though it may have done what it was asked.
    InboxStorm { per_mille: u32, time: Duration },
    /// Messages come that nobody can read.
    Garbage { count: u32 },
    /// The log's clock leaps.
    Leap { forward: bool, by: Duration },
}

/// Whether and how a process comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    /// `None`: never.
    pub(crate) after: Option<Duration>,
    /// Under another name.
    pub(crate) renamed: bool,
}

/// What a process can be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Bus,
    Log,
    Inbox,
}

/// Chances in a thousand, for each message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BusStorm {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) late: u32,
    pub(crate) unknown: u32,
    pub(crate) late_max: Duration,
}

/// Chances in a thousand, for each append; `away` for each other call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogStorm {
    pub(crate) lost: u32,
    pub(crate) unknown: u32,
    pub(crate) conflict: u32,
    pub(crate) away: u32,
}

impl Plan {
    /// A process's name: coordinators come first.
    pub(crate) fn name(&self, slot: usize) -> String {
        let coordinators = self.setup.coordinators;
        if slot < coordinators { format!("c{slot}") } else { format!("p{}", slot - coordinators) }
    }

    /// The longest that a message can be late.
    pub(crate) fn late_max(&self) -> Duration {
        let storms = self.faults.iter().map(|fault| match &fault.deed {
            Deed::BusStorm { storm, .. } => storm.late_max,
            _ => Duration::ZERO,
        });
        storms.max().unwrap_or_default()
    }

    /// How far the log's clock can be off.
    pub(crate) fn leap_max(&self) -> Duration {
        let leaps = self.faults.iter().map(|fault| match &fault.deed {
            Deed::Leap { by, .. } => *by,
            _ => Duration::ZERO,
        });
        leaps.sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.setup)?;
        for load in &self.loads {
            writeln!(f, "  {load:?}")?;
        }
        for (nth, Fault { at, deed }) in self.faults.iter().enumerate() {
            writeln!(f, "  fault {nth} at {:.3} s: {deed:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
