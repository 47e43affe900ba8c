//! The barrier's rules: what one row says to whoever wants to work on its step. Pure, and the same for every
//! [`Inbox`](crate::ports::Inbox): an adapter reads a [`Row`], asks it, and writes it back, atomically.

mod complete;
#[cfg(feature = "model")]
mod fingerprint;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ports::{Claim, ClaimAnswer, ClaimToken, Effects, Known};
use crate::record::{Action, FenceAnswer, Payload, Report, Timestamp};

/// What the barrier knows of one step of one run. A new row knows nothing.
///
/// It serializes, so that an adapter can store it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The highest round that was acted on.
    round: u32,
    /// How many tokens were given. The claim that has the row always has the last one.
    tokens: u32,
    executions: Attempts,
    /// An execution was begun that could have an effect without a verdict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    attempted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// Nothing for most steps of most sagas, so it costs them a pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<Box<Seal>>,
    /// There may have been an effect that the verdict would not tell of, so "refused, without effect" can no longer be true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tainted: bool,
    /// An execution lost its row before it ended: it may have an effect at any later time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    overlapped: bool,
}

/// How often an action was begun in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Attempts {
    round: u32,
    count: u32,
}

/// A claim that has not been completed. Once its time is up, anyone may take the row over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    undo: bool,
    round: u32,
    until: Timestamp,
    /// An overtaken execution came back while this undo was running, perhaps with an effect that it did not see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
    /// An execution whose effect is stored together with its verdict, or not at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bound: bool,
}

/// How executing went: the first verdict that was stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Succeeded(Payload),
    /// True of every attempt: there was no effect.
    Rejected(Arc<str>),
    Failed(Arc<str>),
}

/// An undo or a fence has come: from here on the step is not executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    undoing: Undoing,
    undos: Attempts,
    /// For how long the last undo asked to hold the row.
    hold: Duration,
    /// The last fence, unless an undo of a higher round has come since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<Fence>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Undoing {
    #[default]
    Never,
    Begun,
    Done,
    Failed {
        round: u32,
        reason: Arc<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Fence {
    round: u32,
    answer: FenceAnswer,
}

impl Row {
    /// Answers a claim. `horizon` is [since when](crate::ports::Inbox::horizon) the inbox has every row.
    ///
    /// The row changes unless the answer is [`ClaimAnswer::Busy`].
    pub fn claim(&mut self, claim: &Claim, horizon: Timestamp, now: Timestamp) -> ClaimAnswer {
        if let Some(holder) = &self.holder
            && holder.until > now
        {
            return ClaimAnswer::Busy { retry_after: holder.until.since(now) };
        }
        match claim.action {
            Action::Execute => self.claim_execute(claim, horizon, now),
            Action::Undo => self.claim_undo(claim, horizon, now),
            Action::Fence => self.fence(claim, horizon),
        }
    }

    /// Whether someone has the row and may still keep it: it must not be pruned.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.holder.is_some_and(|holder| holder.until > now)
    }

    /// Whether this claim still has the row, its time being up or not.
    pub fn is_held_by(&self, claimed: ClaimToken) -> bool {
        self.holder.is_some_and(|holder| token(self.tokens, &holder) == claimed)
    }

    /// Until when the row is held, if it is.
    pub fn held_until(&self) -> Option<Timestamp> {
        self.holder.map(|holder| holder.until)
    }

    fn claim_execute(&mut self, claim: &Claim, horizon: Timestamp, now: Timestamp) -> ClaimAnswer {
        // This delivery may be that of an execution that lost its row, had its effect after the undo, and crashed.
        if self.overlapped && self.is_undone() {
            return self.begin_undo(self.round, claim.hold, self.succeeded_output(), now);
        }
        // For the same reason an undo whose time is up, and which may be running all the same, will not be enough.
        if let Some(holder) = &mut self.holder {
            holder.again |= self.overlapped && holder.undo;
        }
        if let Some(output) = self.succeeded_output() {
            return ClaimAnswer::Reply(Report::Succeeded { output });
        }
        if claim.round < self.round {
            return ClaimAnswer::Stale;
        }
        self.round = claim.round;
        if self.seal.as_ref().is_some_and(|seal| seal.forbids_executing(claim.round)) {
            return ClaimAnswer::Reply(self.sealed_report());
        }
        if let Some(verdict) = &self.verdict
            && self.executions.round == claim.round
        {
            return ClaimAnswer::Reply(verdict.report());
        }
        // An operator tries again: what an older round ended with no longer counts.
        self.verdict = None;
        self.seal = None;
        self.tainted |= self.executions.count == 0 && claim.dispatched_at < horizon;
        let attempt = self.executions.next(claim.round);
        let bound = claim.effects == Effects::InTransaction;
        self.attempted |= !bound;
        let token = self.hold(Holder::new(Action::Execute, claim.round, now.after(claim.hold), bound));
        ClaimAnswer::Run { token, action: Action::Execute, attempt, output: None }
    }

    fn claim_undo(&mut self, claim: &Claim, horizon: Timestamp, now: Timestamp) -> ClaimAnswer {
        if self.is_undone() {
            return ClaimAnswer::Reply(Report::Undone);
        }
        let fenced = self.fence_of(claim.round..).is_some();
        if claim.round < self.round || fenced {
            return ClaimAnswer::Stale;
        }
        if let Some(Undoing::Failed { round, reason }) = self.undoing()
            && *round == claim.round
        {
            return ClaimAnswer::Reply(Report::UndoFailed { reason: Arc::clone(reason) });
        }
        self.round = claim.round;
        let refused =
            matches!(self.verdict, Some(Verdict::Rejected(_))) && !matches!(claim.known, Known::Succeeded(_));
        if refused || self.never_ran(claim, horizon) {
            // A transaction that was begun before and is late must not commit any more.
            self.overtake();
            let seal = self.sealed();
            seal.undoing = Undoing::Done;
            seal.fence = None;
            seal.hold = claim.hold;
            return ClaimAnswer::Reply(Report::Undone);
        }
        self.tainted |= self.is_blank();
        let output = self.succeeded_output().or_else(|| match &claim.known {
            Known::Succeeded(output) => output.clone(),
            Known::Unknown | Known::Failed => None,
        });
        let seal = self.sealed();
        seal.undoing = Undoing::Begun;
        seal.fence = None;
        self.begin_undo(claim.round, claim.hold, output, now)
    }

    fn fence(&mut self, claim: &Claim, horizon: Timestamp) -> ClaimAnswer {
        if let Some(fence) = self.fence_of(claim.round..=claim.round) {
            return ClaimAnswer::Reply(Report::Fenced { answer: fence.answer.clone() });
        }
        if claim.round < self.round {
            return ClaimAnswer::Stale;
        }
        self.round = claim.round;
        self.overtake();
        let answer = self.fence_answer(claim, horizon);
        self.tainted |= self.is_blank() && answer != FenceAnswer::NoEffect;
        self.sealed().fence = Some(Fence { round: claim.round, answer: answer.clone() });
        ClaimAnswer::Reply(Report::Fenced { answer })
    }

    fn fence_answer(&self, claim: &Claim, horizon: Timestamp) -> FenceAnswer {
        match (self.undoing(), &self.verdict) {
            (Some(Undoing::Done), _) => FenceAnswer::NoEffect,
            // It was undone in part, who knows which.
            (Some(Undoing::Begun | Undoing::Failed { .. }), _) => FenceAnswer::Unknown,
            (_, Some(Verdict::Succeeded(output))) => FenceAnswer::Done { output: output.clone() },
            (_, Some(Verdict::Rejected(_))) => FenceAnswer::NoEffect,
            (_, Some(Verdict::Failed(_))) => FenceAnswer::Unknown,
            (_, None) if self.never_ran(claim, horizon) => FenceAnswer::NoEffect,
            (_, None) => match &claim.known {
                Known::Succeeded(Some(output)) => FenceAnswer::Done { output: output.clone() },
                Known::Succeeded(None) | Known::Unknown | Known::Failed => FenceAnswer::Unknown,
            },
        }
    }

    /// Whether the row's silence proves that the step was never executed: not if the row could have been pruned, and not if the
    /// coordinator has heard otherwise.
    fn never_ran(&self, claim: &Claim, horizon: Timestamp) -> bool {
        self.is_blank() && !self.tainted && claim.known == Known::Unknown && claim.dispatched_at >= horizon
    }

    fn begin_undo(
        &mut self,
        round: u32,
        hold: Duration,
        output: Option<Payload>,
        now: Timestamp,
    ) -> ClaimAnswer {
        let seal = self.sealed();
        seal.hold = hold;
        let attempt = seal.undos.next(round);
        let token = self.hold(Holder::new(Action::Undo, round, now.after(hold), false));
        ClaimAnswer::Run { token, action: Action::Undo, attempt, output }
    }

    /// Whether nothing can have happened that the row would have to tell of: no execution was begun but such as would have left a verdict.
    const fn is_blank(&self) -> bool {
        !self.attempted && self.verdict.is_none()
    }

    /// Gives the row to a new claim.
    fn hold(&mut self, holder: Holder) -> ClaimToken {
        self.overtake();
        self.tokens = self.tokens.wrapping_add(1);
        self.holder = Some(holder);
        token(self.tokens, &holder)
    }

    /// Takes the row from a claim whose time is up. If it was executing, it has crashed or is late.
    fn overtake(&mut self) {
        if let Some(Holder { undo: false, bound: false, .. }) = self.holder.take() {
            self.tainted = true;
            self.overlapped = true;
        }
    }

    fn sealed(&mut self) -> &mut Seal {
        self.seal.get_or_insert_default()
    }

    fn undoing(&self) -> Option<&Undoing> {
        self.seal.as_ref().map(|seal| &seal.undoing)
    }

    fn is_undone(&self) -> bool {
        matches!(self.undoing(), Some(Undoing::Done))
    }

    fn fence_of(&self, rounds: impl std::ops::RangeBounds<u32>) -> Option<&Fence> {
        self.seal.as_ref()?.fence.as_ref().filter(|fence| rounds.contains(&fence.round))
    }

    fn succeeded_output(&self) -> Option<Payload> {
        match &self.verdict {
            Some(Verdict::Succeeded(output)) => Some(output.clone()),
            Some(Verdict::Rejected(_) | Verdict::Failed(_)) | None => None,
        }
    }

    fn sealed_report(&self) -> Report {
        match &self.verdict {
            Some(verdict) => verdict.report(),
            None if self.is_blank() && !self.tainted => {
                Report::Rejected { reason: "it was undone or fenced before it ran".into() }
            }
            None => Report::Failed {
                reason: "it was undone or fenced after an attempt whose end is not known".into(),
            },
        }
    }
}

impl Seal {
    /// A fence gives way to an operator's retry, which has a higher round. An undo never does.
    fn forbids_executing(&self, round: u32) -> bool {
        self.undoing != Undoing::Never || self.fence.as_ref().is_none_or(|fence| fence.round >= round)
    }
}

impl Attempts {
    /// Counts one more in this round.
    fn next(&mut self, round: u32) -> u32 {
        if self.round != round {
            *self = Self { round, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

impl Verdict {
    fn report(&self) -> Report {
        match self {
            Self::Succeeded(output) => Report::Succeeded { output: output.clone() },
            Self::Rejected(reason) => Report::Rejected { reason: Arc::clone(reason) },
            Self::Failed(reason) => Report::Failed { reason: Arc::clone(reason) },
        }
    }
}

impl Holder {
    fn new(action: Action, round: u32, until: Timestamp, bound: bool) -> Self {
        Self { undo: action == Action::Undo, round, until, again: false, bound }
    }
}

/// The number says whether the claim was an undo, and whether it was bound to a transaction, so that a claimant that has lost the row is
/// still known for what it did.
fn token(serial: u32, holder: &Holder) -> ClaimToken {
    ClaimToken(u64::from(serial) << 2 | u64::from(holder.bound) << 1 | u64::from(holder.undo))
}
