//! The participants' database: the barrier's rows, and what handlers do in one transaction with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use saga_core::Error;
use saga_core::participant::barrier::Row;
use saga_core::ports::{
    Claim, ClaimAnswer, ClaimToken, Clock, Completed, Completion, Inbox, Known, Performed, Task,
};
use saga_core::record::{Action, FenceAnswer, Report, Timestamp};

use crate::bus::{away, check};
use crate::chance::happens;
use crate::coverage::{Coverage, Fault, Sight};
use crate::mutants::Mutant;
use crate::process::{Edge, Port, Process};
use crate::world::lock;

/// The rows of all steps.
pub(crate) struct Store {
    rows: BTreeMap<Task, Row>,
    horizon: Timestamp,
    /// Without a barrier: how often each action was begun.
    begun: BTreeMap<(Task, bool), u32>,
    mutant: Option<Mutant>,
}

impl Store {
    /// Without rows; it has missed none since `horizon`.
    pub(crate) const fn new(horizon: Timestamp, mutant: Option<Mutant>) -> Self {
        Self { rows: BTreeMap::new(), horizon, begun: BTreeMap::new(), mutant }
    }

    /// The answer, and whether the row was taken from someone whose time was up.
    fn claim(&mut self, claim: &Claim, now: Timestamp) -> (ClaimAnswer, bool) {
        if self.mutant == Some(Mutant::NoBarrier) {
            return (self.let_run(claim), false);
        }
        let task = self.place(&claim.task, claim.action == Action::Undo, claim.action == Action::Fence);
        let row = self.rows.entry(task).or_default();
        let is_late = row.held_until().is_some_and(|until| until <= now);
        let answer = row.claim(claim, self.horizon, now);
        match answer {
            ClaimAnswer::Busy { .. } if self.mutant == Some(Mutant::LiveClaimAcknowledged) => {
                (ClaimAnswer::Stale, false)
            }
            answer => (answer, is_late),
        }
    }

    fn let_run(&mut self, claim: &Claim) -> ClaimAnswer {
        let is_undo = claim.action == Action::Undo;
        if claim.action == Action::Fence {
            return ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::NoEffect });
        }
        let begun = self.begun.entry((claim.task.clone(), is_undo)).or_default();
        *begun += 1;
        let token = ClaimToken(u64::from(*begun) << 2 | u64::from(is_undo));
        let output = match &claim.known {
            Known::Succeeded(output) => output.clone(),
            Known::Unknown | Known::Failed => None,
        };
        ClaimAnswer::Run { token, action: claim.action, attempt: *begun, output }
    }

    /// Which row a task has.
    fn place(&self, task: &Task, is_undo: bool, is_fence: bool) -> Task {
        let mut task = task.clone();
        if self.mutant == Some(Mutant::RowPerAction) && (is_undo || is_fence) {
            task.step = format!("{}{}", task.step, if is_undo { "-undo" } else { "-fence" }).into();
        }
        task
    }

    pub(crate) fn complete(
        &mut self,
        task: &Task,
        token: ClaimToken,
        performed: Performed,
        now: Timestamp,
    ) -> Completed {
        if self.mutant == Some(Mutant::NoBarrier) {
            return match performed {
                Performed::Final(report) => Completed::Reply(report),
                Performed::Again => Completed::Free,
            };
        }
        let task = self.place(task, token.0 & 1 == 1, false);
        let row = self.rows.entry(task).or_default();
        match performed {
            Performed::Final(report) if self.mutant == Some(Mutant::VerdictNotStored) => {
                row.complete(token, Performed::Again, now);
                Completed::Reply(report)
            }
            performed => row.complete(token, performed, now),
        }
    }

    /// What a claim would be answered that is not made.
    pub(crate) fn would_answer(&self, claim: &Claim, now: Timestamp) -> ClaimAnswer {
        let task = self.place(&claim.task, claim.action == Action::Undo, claim.action == Action::Fence);
        self.rows.get(&task).cloned().unwrap_or_default().claim(claim, self.horizon, now)
    }

    /// Whether a claim still has its row, so that a transaction under it may commit.
    pub(crate) fn is_held_by(&self, task: &Task, token: ClaimToken) -> bool {
        let task = self.place(task, token.0 & 1 == 1, false);
        matches!(self.mutant, Some(Mutant::NoBarrier | Mutant::LateCommit))
            || self.rows.get(&task).is_some_and(|row| row.is_held_by(token))
    }

    /// What a mutant does whose rows do not survive their process.
    pub(crate) fn process_died(&mut self) {
        if self.mutant == Some(Mutant::InboxForgets) {
            self.rows.clear();
        }
    }
}

/// A participant's connection to the database.
#[derive(Debug)]
pub(crate) struct SimInbox {
    pub(crate) process: Arc<Process>,
}

/// Whether the answer is lost, and whether what was asked was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Away,
    Done,
}

impl SimInbox {
    fn fate(&self) -> Fate {
        let world = &self.process.world;
        let Some((per_mille, mut rng)) = world.inbox_storm() else { return Fate::Fine };
        let (fate, fault) = match (happens(&mut rng, per_mille), rng.bool()) {
            (false, _) => return Fate::Fine,
            (true, false) => (Fate::Away, Fault::InboxAway),
            (true, true) => (Fate::Done, Fault::InboxDone),
        };
        world.coverage.fault(fault);
        fate
    }

    fn now(&self) -> Timestamp {
        self.process.world.clock.now()
    }
}

#[async_trait]
impl Inbox for SimInbox {
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        self.process.pass(Port::Claim, Edge::Before).await;
        let fate = self.fate();
        if fate == Fate::Away || check(&self.process, Port::Claim).await.is_err() {
            return batch.iter().map(|_| Err(away())).collect();
        }
        let world = &self.process.world;
        let now = self.now();
        let mut answers = Vec::with_capacity(batch.len());
        for claim in &batch {
            let (answer, is_overtaking) = lock(&world.store).claim(claim, now);
            if is_overtaking {
                world.coverage.sight(Sight::ClaimOvertaken);
            }
            see(&world.coverage, claim, &answer);
            world.trace.say(&self.process.name, || {
                let Claim { task, action, round, .. } = claim;
                format!("claims {}/{} {action} round {round}: {answer:?}", task.run, task.step)
            });
            answers.push(if fate == Fate::Done { Err(away()) } else { Ok(answer) });
        }
        self.process.pass(Port::Claim, Edge::After).await;
        answers
    }

    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        self.process.pass(Port::Complete, Edge::Before).await;
        let fate = self.fate();
        if fate == Fate::Away || check(&self.process, Port::Complete).await.is_err() {
            return batch.iter().map(|_| Err(away())).collect();
        }
        let world = &self.process.world;
        let now = self.now();
        let mut answers = Vec::with_capacity(batch.len());
        for Completion { task, token, performed } in batch {
            let was_refusal = matches!(performed, Performed::Final(Report::Rejected { .. }));
            let completed = lock(&world.store).complete(&task, token, performed, now);
            match &completed {
                Completed::UndoAgain { .. } => world.coverage.sight(Sight::UndoneOnceMore),
                Completed::Reply(Report::Failed { .. }) if was_refusal => {
                    world.coverage.sight(Sight::RefusalDoubted);
                }
                _ => {}
            }
            world
                .trace
                .say(&self.process.name, || format!("completes {}/{}: {completed:?}", task.run, task.step));
            answers.push(if fate == Fate::Done { Err(away()) } else { Ok(completed) });
        }
        self.process.pass(Port::Complete, Edge::After).await;
        answers
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        Ok(lock(&self.process.world.store).horizon)
    }

    async fn prune(&self, _before: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }
}

fn see(coverage: &Coverage, claim: &Claim, answer: &ClaimAnswer) {
    let sight = match (claim.action, answer) {
        (_, ClaimAnswer::Busy { .. }) => Sight::Busy,
        (Action::Execute, ClaimAnswer::Run { action: Action::Undo, .. }) => Sight::UndoneOnceMore,
        (Action::Execute, ClaimAnswer::Reply(_)) => Sight::Replayed,
        (Action::Undo, ClaimAnswer::Reply(Report::Undone)) if claim.known == Known::Unknown => {
            Sight::EmptyUndo
        }
        (_, ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::NoEffect })) => Sight::FenceNoEffect,
        (_, ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Done { .. } })) => Sight::FenceDone,
        (_, ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Unknown })) => Sight::FenceUnknown,
        _ => return,
    };
    coverage.sight(sight);
}
