//! Rules that the shells keep, each broken on purpose between them and their ports.

/// A rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    NoBarrier,
    RowPerAction,
    AcknowledgeBeforeAppend,
    StaleDecisionSettled,
    NoCompareAndSet,
    EntryLost,
    WakeForgotten,
    CallbackIdPerAttempt,
    VerdictNotStored,
    RoundNotCarried,
    LiveClaimAcknowledged,
    AcknowledgeBeforeVerdict,
    DeadlineOverUnread,
    LateCommit,
    FailedTakenForRejected,
    InboxForgets,
    UnknownTakenForSuccess,
    ConflictTakenForSuccess,
    NoTakeOver,
    TakeOverUnmarked,
    AdmissionGatesReplies,
    RunIdReused,
}

/// A mutant, and the rule it breaks.
pub(crate) struct Seeded {
    pub(crate) mutant: Mutant,
    pub(crate) rule: &'static str,
    /// The model breaks the same rule, under the same name; what survives here must be caught there.
    pub(crate) is_of_the_model: bool,
}

const fn seeded(mutant: Mutant, rule: &'static str) -> Seeded {
    Seeded { mutant, rule, is_of_the_model: true }
}

const fn of_shells(mutant: Mutant, rule: &'static str) -> Seeded {
    Seeded { mutant, rule, is_of_the_model: false }
}

/// All of them. Those that the model has, too, have the same names there.
pub(crate) const MUTANTS: &[Seeded] = &[
    seeded(Mutant::NoBarrier, "a command is claimed at the barrier before it runs"),
    seeded(Mutant::RowPerAction, "execute, undo and fence share one row"),
    seeded(Mutant::AcknowledgeBeforeAppend, "inputs are acknowledged after the append"),
    seeded(Mutant::StaleDecisionSettled, "a decision that appends nothing is verified at the log's version"),
    seeded(Mutant::NoCompareAndSet, "an append takes effect only at the version it was decided on"),
    seeded(Mutant::EntryLost, "all entries of a decision are appended"),
    seeded(Mutant::WakeForgotten, "after a dispatch the saga is due at the next resend"),
    seeded(Mutant::CallbackIdPerAttempt, "every attempt of a callback has the same id"),
    seeded(Mutant::VerdictNotStored, "a verdict is stored before it is sent"),
    seeded(Mutant::RoundNotCarried, "commands and replies carry their round"),
    seeded(Mutant::LiveClaimAcknowledged, "a delivery that meets a live claim is given back"),
    seeded(Mutant::AcknowledgeBeforeVerdict, "a command is settled after its verdict is stored"),
    seeded(Mutant::DeadlineOverUnread, "no deadline fires while an older reply is unread"),
    seeded(Mutant::LateCommit, "a transaction whose claim has lost the row does not commit"),
    seeded(Mutant::FailedTakenForRejected, "a step that failed is undone, too"),
    of_shells(Mutant::InboxForgets, "an inbox that has lost rows says since when it has them"),
    of_shells(Mutant::UnknownTakenForSuccess, "an append of unknown fate is read back"),
    of_shells(Mutant::ConflictTakenForSuccess, "what was decided on a stale state is decided anew"),
    of_shells(Mutant::NoTakeOver, "the sagas of a coordinator that is gone are taken over"),
    of_shells(Mutant::TakeOverUnmarked, "no deadline fires before what was taken over has been sent again"),
    of_shells(Mutant::AdmissionGatesReplies, "replies never wait for the room that they make"),
    of_shells(Mutant::RunIdReused, "every start has a run id of its own"),
];
