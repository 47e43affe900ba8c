//! A process, as the rest of the world sees it: every call that leaves it, and every answer that reaches it, passes its gate. There it can be
//! held up, cut off, or die. Between two passes a shell does nothing that anyone could see; so these are its awaits.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::{between, happens};
use crate::coverage::{Counter, Fault};
use crate::plan::{Back, Server};
use crate::world::{World, lock};

/// What a process calls, or is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Port {
    Declare,
    Publish,
    Next,
    Settle,
    Lag,
    Append,
    Load,
    Lease,
    Wake,
    Claim,
    Complete,
    Sleep,
    Handler,
    Callback,
}

impl Port {
    pub(crate) const ALL: [Self; 14] = [
        Self::Declare,
        Self::Publish,
        Self::Next,
        Self::Settle,
        Self::Lag,
        Self::Append,
        Self::Load,
        Self::Lease,
        Self::Wake,
        Self::Claim,
        Self::Complete,
        Self::Sleep,
        Self::Handler,
        Self::Callback,
    ];
    /// Appends and publishes are where most can be lost: they come more than once.
    pub(crate) const OF_COORDINATORS: [Self; 13] = [
        Self::Declare,
        Self::Publish,
        Self::Publish,
        Self::Next,
        Self::Settle,
        Self::Lag,
        Self::Append,
        Self::Append,
        Self::Load,
        Self::Lease,
        Self::Wake,
        Self::Sleep,
        Self::Callback,
    ];
    pub(crate) const OF_PARTICIPANTS: [Self; 9] = [
        Self::Declare,
        Self::Publish,
        Self::Next,
        Self::Settle,
        Self::Claim,
        Self::Complete,
        Self::Sleep,
        Self::Handler,
        Self::Handler,
    ];

    const fn server(self) -> Option<Server> {
        match self {
            Self::Declare | Self::Publish | Self::Next | Self::Settle | Self::Lag => Some(Server::Bus),
            Self::Append | Self::Load | Self::Lease | Self::Wake => Some(Server::Log),
            Self::Claim | Self::Complete => Some(Server::Inbox),
            Self::Sleep | Self::Handler | Self::Callback => None,
        }
    }
}

/// Which side of a call: it has not left yet, or its answer has not arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Edge {
    Before,
    After,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declare => "declaring and subscribing",
            Self::Publish => "publishing",
            Self::Next => "receiving",
            Self::Settle => "settling",
            Self::Lag => "asking how much is unread",
            Self::Append => "appending",
            Self::Load => "reading the log",
            Self::Lease => "leasing",
            Self::Wake => "asking for what is due",
            Self::Claim => "claiming",
            Self::Complete => "completing",
            Self::Sleep => "waiting",
            Self::Handler => "a handler's effect",
            Self::Callback => "calling back",
        })
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Before { "before" } else { "after" })
    }
}

/// One life of a process.
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) slot: usize,
    pub(crate) name: Arc<str>,
    /// Which life of its slot, from 0.
    pub(crate) life: u64,
    died: Notify,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    is_dead: bool,
    paused_until: Option<Instant>,
    cut_until: [Option<Instant>; 3],
    slow: Option<Slow>,
    armed: Vec<Armed>,
    stop: Option<oneshot::Sender<()>>,
    back: Option<Back>,
    rejoins: u64,
    rejoin: Arc<Notify>,
}

/// How long calls may take, how many in a thousand, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    pub(crate) per_mille: u32,
    pub(crate) max: Duration,
    pub(crate) until: Instant,
}

/// What is to happen to a process the nth time that it gets somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) port: Port,
    pub(crate) edge: Edge,
    pub(crate) nth: u32,
    pub(crate) end: End,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Dies(Back),
    StandsStill(Duration),
}

impl Process {
    pub(crate) fn new(
        world: &Arc<World>,
        slot: usize,
        life: u64,
        name: Arc<str>,
        stop: oneshot::Sender<()>,
    ) -> Self {
        let rng = crate::chance::chance(world.plan.seed, ("process", slot, life));
        let state = State {
            rng,
            is_dead: false,
            paused_until: None,
            cut_until: [None; 3],
            slow: None,
            armed: Vec::new(),
            stop: Some(stop),
            back: None,
            rejoins: 0,
            rejoin: Arc::default(),
        };
        Self { world: Arc::clone(world), slot, name, life, died: Notify::new(), state: Mutex::new(state) }
    }

    /// Passes the gate; never, once dead.
    pub(crate) async fn pass(&self, port: Port, edge: Edge) {
        let latency = self.arrive(port, edge);
        if !latency.is_zero() {
            sleep(latency).await;
        }
        loop {
            let until = {
                let state = lock(&self.state);
                match state.paused_until {
                    _ if state.is_dead => None,
                    Some(until) if until > Instant::now() => Some(until),
                    _ => return,
                }
            };
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Counts, dies if it is to die here, and says how long the way is.
    fn arrive(&self, port: Port, edge: Edge) -> Duration {
        let mut state = lock(&self.state);
        if state.is_dead {
            return Duration::ZERO;
        }
        let meant = |armed: &&mut Armed| armed.port == port && armed.edge == edge;
        state.armed.iter_mut().filter(meant).for_each(|armed| armed.nth -= 1);
        if let Some(at) = state.armed.iter().position(|armed| armed.nth == 0) {
            let end = state.armed.remove(at).end;
            self.strike(&mut state, port, edge, end);
            return Duration::ZERO;
        }
        if port.server().is_none() {
            return Duration::ZERO;
        }
        if let Some(slow) = state.slow.filter(|slow| slow.until > Instant::now())
            && happens(&mut state.rng, slow.per_mille)
        {
            self.world.coverage.fault(Fault::Slow);
            let max_ms = u64::try_from(slow.max.as_millis()).unwrap_or(u64::MAX);
            return between(&mut state.rng, 1_000, max_ms);
        }
        let max_ms = u64::try_from(self.world.plan.setup.latency_max.as_millis()).unwrap_or(u64::MAX);
        if edge == Edge::Before && state.rng.bool() {
            return between(&mut state.rng, 0, max_ms);
        }
        Duration::ZERO
    }

    fn strike(&self, state: &mut State, port: Port, edge: Edge, end: End) {
        self.world.trace.say(&self.name, || format!("{end:?} {edge} {port}"));
        match end {
            End::Dies(back) => {
                self.world.coverage.count(Counter::CrashAt(port, edge));
                self.die(state, back);
            }
            End::StandsStill(time) => {
                self.world.coverage.count(Counter::StallAt(port, edge));
                self.stand_still(state, time);
            }
        }
    }

    fn die(&self, state: &mut State, back: Back) {
        state.is_dead = true;
        state.armed.clear();
        state.back = Some(back);
        self.died.notify_one();
    }

    /// Resolves once it has died.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// How it comes back, if it was told.
    pub(crate) fn back(&self) -> Option<Back> {
        lock(&self.state).back
    }

    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.state).is_dead
    }

    pub(crate) fn arm(&self, armed: Armed) {
        lock(&self.state).armed.push(armed);
    }

    /// It dies wherever it is.
    pub(crate) fn kill(&self, back: Back) {
        self.die(&mut lock(&self.state), back);
    }

    pub(crate) fn stop(&self, back: Back) -> bool {
        let mut state = lock(&self.state);
        let Some(stop) = state.stop.take().filter(|_| !state.is_dead) else { return false };
        state.back = Some(back);
        stop.send(()).is_ok()
    }

    pub(crate) fn pause(&self, time: Duration) {
        self.stand_still(&mut lock(&self.state), time);
    }

    fn stand_still(&self, state: &mut State, time: Duration) {
        state.paused_until = Some(Instant::now() + time);
        let (coverage, setup) = (&self.world.coverage, &self.world.plan.setup);
        coverage.fault(Fault::Paused);
        let is_coordinator = self.slot < setup.coordinators;
        if is_coordinator && time > setup.lease_ttl {
            coverage.fault(Fault::PausedBeyondLease);
        }
        if !is_coordinator && time > setup.claim_hold {
            coverage.fault(Fault::PausedBeyondClaim);
        }
    }

    pub(crate) fn slow_down(&self, slow: Slow) {
        lock(&self.state).slow = Some(slow);
    }

    pub(crate) fn cut(&self, from: Server, time: Duration) {
        lock(&self.state).cut_until[from as usize] = Some(Instant::now() + time);
        if from == Server::Bus {
            // A broker does not wait for ever for one that it no longer hears of.
            self.rejoin();
        }
    }

    pub(crate) fn rejoin(&self) {
        let mut state = lock(&self.state);
        state.rejoins += 1;
        state.rejoin.notify_waiters();
    }

    /// How often it had to join its groups anew, and word of the next time.
    pub(crate) fn rejoins(&self) -> (u64, Arc<Notify>) {
        let state = lock(&self.state);
        (state.rejoins, Arc::clone(&state.rejoin))
    }

    /// Until when it does not reach this port's server.
    pub(crate) fn cut_until(&self, port: Port) -> Option<Instant> {
        let server = port.server()?;
        lock(&self.state).cut_until[server as usize].filter(|until| *until > Instant::now())
    }

    /// Nothing is wrong with it any more.
    pub(crate) fn heal(&self) {
        let mut state = lock(&self.state);
        state.armed.clear();
        state.slow = None;
        state.cut_until = [None; 3];
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
