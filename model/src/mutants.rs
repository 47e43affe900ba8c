//! Rules of the design, each broken on purpose in the shells around the machine and the barrier. A check that cannot fail proves nothing.

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
    FailedTakenForRejected,
    RefusalOfLastAttempt,
    VerdictNotStored,
    ReplyBeforeCommit,
    EmptyUndoUnsealed,
    NoHorizon,
    LiveClaimAcknowledged,
    OldClaimantIgnored,
    AcknowledgeBeforeVerdict,
    RoundNotCarried,
    FenceUnsealed,
    FenceLeftOut,
    ResolvedUnsealed,
    DeadlineOverUnread,
    DeadlinesTogether,
    SilenceIsFailure,
    UndoOrderIgnored,
    DependenciesIgnored,
    PivotForgotten,
    LateCommit,
}

/// A mutant, the rule it breaks, and where it is to be caught.
pub(crate) struct Seeded {
    pub(crate) mutant: Mutant,
    pub(crate) rule: &'static str,
    /// The configuration that is explored with it.
    pub(crate) config: &'static str,
}

const fn seeded(mutant: Mutant, config: &'static str, rule: &'static str) -> Seeded {
    Seeded { mutant, rule, config }
}

/// All of them.
pub(crate) const MUTANTS: &[Seeded] = &[
    seeded(Mutant::NoBarrier, "one", "a command is claimed at the barrier before it runs"),
    seeded(Mutant::RowPerAction, "one", "execute, undo and fence share one row"),
    seeded(Mutant::AcknowledgeBeforeAppend, "one", "inputs are acknowledged after the append"),
    seeded(
        Mutant::StaleDecisionSettled,
        "stale",
        "a decision that appends nothing is verified at the log's version",
    ),
    seeded(Mutant::NoCompareAndSet, "stale", "an append takes effect only at the version it was decided on"),
    seeded(Mutant::EntryLost, "one", "all entries of a decision are appended"),
    seeded(Mutant::WakeForgotten, "one", "after a dispatch the saga is due at the next resend"),
    seeded(Mutant::CallbackIdPerAttempt, "callback", "every attempt of a callback has the same id"),
    seeded(Mutant::FailedTakenForRejected, "claims-chain", "a step that failed is undone, too"),
    seeded(Mutant::RefusalOfLastAttempt, "claims-one", "a refusal is true of all attempts"),
    seeded(Mutant::VerdictNotStored, "one", "a verdict is stored before it is sent"),
    seeded(Mutant::ReplyBeforeCommit, "crash-commit", "the reply is sent after the commit"),
    seeded(Mutant::EmptyUndoUnsealed, "one", "an undo that finds nothing seals the row"),
    seeded(Mutant::NoHorizon, "pruned", "no row proves nothing before the inbox's horizon"),
    seeded(Mutant::LiveClaimAcknowledged, "claims-one", "a delivery that meets a live claim is given back"),
    seeded(
        Mutant::OldClaimantIgnored,
        "claims-one",
        "an old claimant that comes back after the undo has it done once more",
    ),
    seeded(
        Mutant::AcknowledgeBeforeVerdict,
        "claims-one",
        "a command is settled after its verdict is stored",
    ),
    seeded(Mutant::RoundNotCarried, "operators", "commands and replies carry their round"),
    seeded(Mutant::FenceUnsealed, "no-undo", "a fence seals the row"),
    seeded(Mutant::FenceLeftOut, "pivot", "a step in doubt that cannot be undone is fenced"),
    seeded(
        Mutant::ResolvedUnsealed,
        "operators-pivot",
        "an operator's decision waits for the row to be sealed",
    ),
    seeded(Mutant::DeadlineOverUnread, "deadlines", "no deadline fires while an older reply is unread"),
    seeded(Mutant::DeadlinesTogether, "deadlines", "a deadline that may fire takes no later one along"),
    seeded(Mutant::SilenceIsFailure, "one", "silence is not failure"),
    seeded(Mutant::UndoOrderIgnored, "chain", "undos wait for those of the steps that depend on theirs"),
    seeded(Mutant::DependenciesIgnored, "chain", "a step waits for those it depends on"),
    seeded(Mutant::PivotForgotten, "pivot-cancel", "after the pivot's dispatch a cancel comes too late"),
    seeded(Mutant::LateCommit, "bound-one", "a transaction whose claim has lost the row does not commit"),
];
