//! How often each fault struck, and each thing worth seeing was seen. What nobody has seen was not checked.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::process::{Edge, Port};
use crate::world::lock;

/// Something to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counter {
    /// A process died there.
    CrashAt(Port, Edge),
    /// A process stood still there.
    StallAt(Port, Edge),
    Fault(Fault),
    Sight(Sight),
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $what:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($variant,)* }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

named! {
    /// A fault that struck.
    Fault {
        Lost = "a message is acknowledged and lost",
        Doubled = "a message is delivered twice",
        Late = "a message is late",
        VeryLate = "a message is later than ten times the step's deadline",
        StoredUnknown = "a publish is answered as unknown, and was stored",
        LostUnknown = "a publish is answered as unknown, and was not",
        AppendLost = "an append fails",
        AppendDoneUnknown = "an append is answered as unknown, and took effect",
        AppendLostUnknown = "an append is answered as unknown, and took none",
        AppendConflict = "an append is refused without need",
        LogAway = "another call to the log fails",
        LogAnswerLost = "the log does what it was asked, and its answer is lost",
        Skewed = "a process's clock is off by up to an hour",
        CallbackHangs = "a callback does not answer",
        Garbage = "a message comes that nobody can read",
        Downgraded = "a coordinator comes back with an older set of definitions",
        InboxDone = "the inbox does what it was asked, and its answer is lost",
        InboxAway = "the inbox does not answer",
        CommitUnknown = "a handler's transaction commits, and the answer is lost",
        CutFromBus = "a process does not reach the bus",
        CutFromLog = "a process does not reach the log",
        CutFromInbox = "a process does not reach the inbox",
        Rejoined = "a process joins its groups anew",
        Paused = "a process stands still",
        PausedBeyondLease = "a coordinator stands still for longer than its lease",
        PausedBeyondClaim = "a participant stands still for longer than a claim",
        Slow = "a call takes for as long as a second or more, and the process goes on",
        Stopped = "a process is stopped, and drains",
        StayedAway = "a coordinator dies for good",
        Renamed = "a coordinator comes back under another name",
        LeaptForward = "the log's clock leaps an hour ahead",
        LeaptBack = "the log's clock leaps an hour back",
    }
}

named! {
    /// Something worth having been seen.
    Sight {
        Completed = "a saga completes",
        RolledBack = "a saga is rolled back",
        Parked = "a saga is parked",
        Abandoned = "a saga is abandoned",
        Conflict = "a stale coordinator meets a conflict",
        TakenOver = "a saga is taken over",
        LeaseLost = "a coordinator finds its lease run out",
        LateSuccess = "a success comes after the plan was made",
        StepDeadline = "a step's deadline fires",
        SagaDeadline = "a saga's deadline fires",
        Overdue = "a deadline passes after the point of no return",
        Cancelled = "a saga is cancelled",
        WentForward = "a silent pivot turns out to be done",
        FenceNoEffect = "a fence answers: no effect",
        FenceDone = "a fence answers: done",
        FenceUnknown = "a fence answers: unknown",
        UndoFailed = "a round of undoing fails",
        LaterRound = "a later round is sent",
        Resolved = "an operator's decision takes effect",
        Held = "an input is held for a coordinator that knows the version",
        HeldTaken = "a held input is taken",
        RefusalDoubted = "a refusal is not believed because of an earlier attempt",
        EmptyUndo = "an undo comes before the execution and seals the row",
        ClaimOvertaken = "a claim runs out and the row is taken over",
        UndoneOnceMore = "an old claimant comes back after the undo, which is done once more",
        Busy = "a delivery meets a live claim",
        Replayed = "a command that was done is answered from the row",
        RolledBackCommit = "a transaction is rolled back whose claim has lost the row",
        KeyRefused = "the outside system refuses an execution after its undo",
        HandlerPanicked = "a handler panics",
        CutOff = "a handler runs for longer than its claim",
        CalledAgain = "a callback is made again",
        CallbackRefused = "a callback is refused",
        StartRepeated = "a start is repeated and finds its saga",
        AdmissionFull = "a start waits for room",
        LateArrival = "a message arrives after its saga has ended",
        OutcomeTold = "a caller is told an outcome",
    }
}

/// The counts of a run, or of many.
#[derive(Default)]
pub(crate) struct Coverage(Mutex<BTreeMap<Counter, u64>>);

impl Coverage {
    pub(crate) fn count(&self, counter: Counter) {
        *lock(&self.0).entry(counter).or_default() += 1;
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.count(Counter::Fault(fault));
    }

    pub(crate) fn sight(&self, sight: Sight) {
        self.count(Counter::Sight(sight));
    }

    pub(crate) fn add(&self, other: &Self) {
        let mut counts = lock(&self.0);
        for (counter, times) in lock(&other.0).iter() {
            *counts.entry(*counter).or_default() += times;
        }
    }

    /// Everything that can be counted, and how often it was.
    pub(crate) fn table(&self) -> Vec<(String, u64)> {
        let counts = lock(&self.0);
        let of = |counter| counts.get(&counter).copied().unwrap_or_default();
        let edges = Port::ALL.iter().flat_map(|port| [(*port, Edge::Before), (*port, Edge::After)]);
        let crashes = edges
            .clone()
            .map(|(port, edge)| (format!("a process dies {edge} {port}"), of(Counter::CrashAt(port, edge))));
        // Nobody stands still where it begins: a process is told to when it runs.
        let stalls = edges.filter(|(port, _)| *port != Port::Declare).map(|(port, edge)| {
            (format!("a process stands still {edge} {port}"), of(Counter::StallAt(port, edge)))
        });
        let faults = Fault::ALL.iter().map(|it| (it.what().to_owned(), of(Counter::Fault(*it))));
        let sights = Sight::ALL.iter().map(|it| (it.what().to_owned(), of(Counter::Sight(*it))));
        crashes.chain(stalls).chain(faults).chain(sights).collect()
    }
}
