//! The state that is explored: a saga in the log, two coordinators, the bus, participants with their barrier rows, the world outside.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;

use saga_core::Timestamp;
use saga_core::machine::Instance;
use saga_core::participant::barrier::Row;
use saga_core::ports::{ClaimToken, Known};
use saga_core::record::{Action, Report, StepIndex};

use crate::config::{BEGINNING, Left};
use crate::laws::Broken;
use crate::model::Model;

/// Everything at one moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// What the log holds, once the saga was started.
    pub(crate) saga: Option<Arc<Filed>>,
    pub(crate) second: Second,
    pub(crate) parties: Vec<Arc<Party>>,
    /// The log's clock.
    pub(crate) now: Timestamp,
    pub(crate) left: Left,
    pub(crate) is_start_settled: bool,
    pub(crate) is_cancel_asked: bool,
    /// The ids that callbacks were made with.
    pub(crate) calls: Vec<Arc<str>>,
    pub(crate) broken: Option<Broken>,
}

/// A saga as the log files it: what its entries make of it, and when it is to be woken.
#[derive(Clone, Debug)]
pub(crate) struct Filed {
    pub(crate) instance: Instance,
    pub(crate) wake_at: Option<Timestamp>,
}

/// The second coordinator. The first always reads the log before it decides; a coordinator that has crashed does the same.
#[derive(Clone, Debug)]
pub(crate) enum Second {
    /// It has not read the saga yet.
    Away,
    /// It goes by what it has read.
    Read(Arc<Filed>),
    /// It has found out that others were first.
    Corrected,
}

/// A step's participant: its barrier row, the deliveries it works on, the messages to and from it, and the outside world as far as the step
/// goes. The bus is a set: whatever was sent may be lost, or delivered late, in any order and any number of times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Party {
    /// The first is the row. A mutant has one for each action.
    pub(crate) rows: [Row; 3],
    /// The row's clock.
    pub(crate) row_now: Timestamp,
    pub(crate) horizon: Timestamp,
    pub(crate) workers: Vec<Worker>,
    pub(crate) commands: Vec<Command>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) ledger: Ledger,
}

/// A command on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) action: Action,
    pub(crate) round: u32,
    pub(crate) known: Known,
    pub(crate) dispatched_at: Timestamp,
}

/// A reply on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) action: Action,
    pub(crate) round: u32,
    pub(crate) report: Report,
    /// Since when it waits to be read by a coordinator. `None`: it was read or lost; copies may still come.
    pub(crate) unread_since: Option<Timestamp>,
}

/// A delivery that is not settled.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) command: Command,
    /// What is being done. It is what was asked, or undoing once more.
    pub(crate) action: Action,
    pub(crate) token: ClaimToken,
    pub(crate) stage: Stage,
}

/// How far the work on a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It will be delivered again.
    Waiting,
    /// It has the row, or had it.
    Running,
    /// The handler has returned.
    Acted(Outcome),
}

/// What a handler comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Failed { effect: bool },
    Again { effect: bool },
}

/// The outside world, and what was said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// The step's effect is there.
    pub(crate) effect: bool,
    /// How often it came about since it was undone last.
    pub(crate) times: u8,
    /// An undo was answered: no effect may come any more.
    pub(crate) is_undone: bool,
    /// A fence of this round was answered "no effect".
    pub(crate) fenced_round: Option<u32>,
    /// An operator has said what the step is, and seen to it.
    pub(crate) is_declared: bool,
    /// The participant has refused.
    pub(crate) has_refused: bool,
    /// The participant has failed.
    pub(crate) has_failed: bool,
}

impl World {
    pub(crate) fn new(steps: usize, left: Left) -> Self {
        Self {
            saga: None,
            second: Second::Away,
            parties: (0..steps).map(|_| Arc::default()).collect(),
            now: BEGINNING,
            left,
            is_start_settled: false,
            is_cancel_asked: false,
            calls: Vec::new(),
            broken: None,
        }
    }

    pub(crate) fn party_mut(&mut self, step: usize) -> &mut Party {
        Arc::make_mut(&mut self.parties[step])
    }

    /// What the second coordinator goes by, if others have gone on meanwhile.
    pub(crate) fn stale(&self) -> Option<&Arc<Filed>> {
        match (&self.second, &self.saga) {
            (Second::Read(read), Some(saga)) if read.instance.version() != saga.instance.version() => {
                Some(read)
            }
            _ => None,
        }
    }

    /// A number that is the same for worlds in which the same can happen. Like steps are taken for one another.
    pub(crate) fn digest(&self, model: &Model, bus: Bus) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut left = self.left;
        let mut bus = bus;
        if let Some(Filed { instance, wake_at }) = self.saga.as_deref() {
            wake_at.map(|at| at <= self.now).hash(&mut hasher);
            instance.hash_rest(&mut hasher);
            if instance.status().is_ended() {
                left = left.after_the_end();
            }
            if bus == Bus::Whole && !model.has_pivot && instance.next_deadline().is_none() {
                bus = Bus::AllRead;
            }
        }
        (self.now, left, self.is_start_settled, self.is_cancel_asked, &self.calls).hash(&mut hasher);
        self.broken.as_ref().map(|broken| broken.law).hash(&mut hasher);
        match &self.second {
            Second::Away => 0.hash(&mut hasher),
            Second::Corrected => 1.hash(&mut hasher),
            Second::Read(read) => {
                (2, self.stale().is_some()).hash(&mut hasher);
                read.instance.hash_rest(&mut hasher);
            }
        }
        for class in &model.classes {
            if let [step] = class[..] {
                self.step_digest(step, bus).hash(&mut hasher);
                continue;
            }
            let mut digests: Vec<u64> = class.iter().map(|step| self.step_digest(*step, bus)).collect();
            digests.sort_unstable();
            digests.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn step_digest(&self, step: usize, bus: Bus) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.parties[step].hash(bus, &mut hasher);
        let index = StepIndex(u16::try_from(step).expect("there are few steps"));
        if let Some(saga) = &self.saga {
            saga.instance.hash_step(index, &mut hasher);
        }
        if let Second::Read(read) = &self.second {
            read.instance.hash_step(index, &mut hasher);
        }
        hasher.finish()
    }

    /// Whether nothing has happened since `before`. It may say no although nothing has.
    pub(crate) fn is_still(&self, before: &Self) -> bool {
        let same = |one: &Option<Arc<Filed>>, other: &Option<Arc<Filed>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same(&self.saga, &before.saga)
            && discriminant(&self.second) == discriminant(&before.second)
            && self.parties.iter().zip(&before.parties).all(|(one, other)| Arc::ptr_eq(one, other))
            && (self.now, self.left) == (before.now, before.left)
            && (self.is_start_settled, self.is_cancel_asked, self.calls.len())
                == (before.is_start_settled, before.is_cancel_asked, before.calls.len())
            && self.broken.is_none()
    }

    /// A world without what may still go wrong.
    pub(crate) fn without_faults(&self) -> Self {
        Self { left: Left::default(), ..self.clone() }
    }
}

/// How much of the bus tells worlds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    Whole,
    /// Whether a reply was read makes no difference any more.
    AllRead,
    /// All that is on the bus is lost.
    Lost,
}

impl Party {
    fn hash(&self, bus: Bus, hasher: &mut impl Hasher) {
        for row in &self.rows {
            row.hash_row(self.row_now, hasher);
        }
        (self.horizon, self.ledger).hash(hasher);
        if bus != Bus::Lost {
            unordered(&self.commands).hash(hasher);
            unordered(self.replies.iter().map(|reply| {
                (reply.action, reply.round, &reply.report, reply.unread_since.filter(|_| bus == Bus::Whole))
            }))
            .hash(hasher);
        }
        let workers = self.workers.iter().map(|worker| {
            let holds = self.rows.iter().any(|row| row.is_held_by(worker.token));
            (&worker.command, worker.action, worker.stage, holds && worker.stage != Stage::Waiting)
        });
        unordered(workers).hash(hasher);
    }

    /// Whether this claim has the row, and its time is not up.
    pub(crate) fn is_held_live(&self, token: ClaimToken) -> bool {
        self.rows.iter().any(|row| row.is_held_by(token) && row.is_held(self.row_now))
    }

    /// Whether whoever has the row is alive and its time is not up.
    pub(crate) fn is_claimant_alive(&self) -> bool {
        self.workers.iter().any(|worker| worker.stage != Stage::Waiting && self.is_held_live(worker.token))
    }
}

impl Hash for Command {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let known = match self.known {
            Known::Unknown => 0,
            Known::Failed => 1,
            Known::Succeeded(_) => 2,
        };
        (self.action, self.round, known, self.dispatched_at).hash(hasher);
    }
}

/// The same number whatever the order.
fn unordered<T: Hash>(items: impl IntoIterator<Item = T>) -> u64 {
    items.into_iter().fold(0, |sum: u64, item| {
        let mut hasher = DefaultHasher::new();
        item.hash(&mut hasher);
        sum.wrapping_add(hasher.finish())
    })
}

/// A world with its digest, which is all that the checker compares.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) world: World,
    digest: u64,
}

impl Seen {
    pub(crate) fn new(model: &Model, world: World) -> Self {
        let digest = world.digest(model, Bus::Whole);
        Self { world, digest }
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Hash for Seen {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.digest);
    }
}
