//! How often each interesting thing was seen: one that nobody has seen was not checked.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something worth having been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Completed,
    RolledBack,
    Parked,
    Abandoned,
    Conflict,
    ClaimOvertaken,
    UndoneOnceMore,
    EmptyUndo,
    FenceNoEffect,
    FenceDone,
    FenceUnknown,
    RefusalDoubted,
    LateSuccess,
    DeadlineFired,
    DeadlineHeldUp,
    WentForward,
    UndoFailed,
    LaterRound,
    Resolved,
    HeldTaken,
    RowPruned,
    CalledAgain,
    CommitTooLate,
}

impl Sight {
    pub(crate) const ALL: [(Self, &'static str); 23] = [
        (Self::Completed, "a saga completes"),
        (Self::RolledBack, "a saga is rolled back"),
        (Self::Parked, "a saga is parked"),
        (Self::Abandoned, "a saga is abandoned"),
        (Self::Conflict, "a stale coordinator meets a conflict"),
        (Self::ClaimOvertaken, "a claim runs out and the row is taken over"),
        (Self::UndoneOnceMore, "an old claimant comes back after the undo, which is done once more"),
        (Self::EmptyUndo, "an undo comes before the execution and seals the row"),
        (Self::FenceNoEffect, "a fence answers: no effect"),
        (Self::FenceDone, "a fence answers: done"),
        (Self::FenceUnknown, "a fence answers: unknown"),
        (Self::RefusalDoubted, "a refusal is not believed because of an earlier attempt"),
        (Self::LateSuccess, "a success comes after the plan was made"),
        (Self::DeadlineFired, "a deadline fires"),
        (Self::DeadlineHeldUp, "a deadline waits for an unread reply"),
        (Self::WentForward, "a silent pivot turns out to be done"),
        (Self::UndoFailed, "a round of undoing fails"),
        (Self::LaterRound, "a later round is sent"),
        (Self::Resolved, "an operator's decision takes effect"),
        (Self::HeldTaken, "a held reply is taken"),
        (Self::RowPruned, "a finished row is forgotten"),
        (Self::CalledAgain, "a callback is made again"),
        (Self::CommitTooLate, "a transaction is rolled back whose claim has lost the row"),
    ];
}

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Coverage([AtomicU64; Sight::ALL.len()]);

impl Coverage {
    pub(crate) fn saw(&self, sight: Sight) {
        self.0[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, sight: Sight) -> u64 {
        self.0[sight as usize].load(Ordering::Relaxed)
    }
}
