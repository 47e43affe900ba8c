//! The participants' shell: claim at the real barrier, run the handler, tell the barrier, reply, settle.

use saga_core::ports::{Claim, ClaimAnswer, ClaimToken, Completed, Performed, Task};
use saga_core::record::{Action, FenceAnswer, Report, RunId};
use saga_core::Kind;
use saga_core::participant::barrier::Row;

use crate::acts::index;
use crate::config::{Fault, HOLD, Handlers};
use crate::coverage::Sight;
use crate::laws::Law;
use crate::mutants::Mutant;
use crate::play::{Mail, Play};
use crate::world::{Command, Outcome, Reply, Stage, Worker};

impl Play<'_> {
    /// Delivers a command, and says whether it met a live claim and was given back.
    pub(crate) fn deliver(&mut self, step: usize, command: Command, outcome: Outcome) -> bool {
        self.tale.say(|| format!("step {step} gets {command:?}"));
        if self.is(Mutant::NoBarrier) && command.action != Action::Fence {
            self.run_unguarded(step, &command, outcome);
            return false;
        }
        let answer = self.claim(step, &command);
        self.tale.say(|| format!("  barrier: {answer:?}"));
        match answer {
            ClaimAnswer::Run { token, action, attempt: _, output: _ } => {
                self.check_run(step, action, &command);
                let worker = Worker { command, action, token, stage: Stage::Running };
                match self.model.config.handlers {
                    Handlers::Transactional => self.commit(step, worker, outcome),
                    Handlers::Keyed => self.world.party_mut(step).workers.push(worker),
                }
            }
            ClaimAnswer::Reply(report) => self.reply(step, &command, report),
            ClaimAnswer::Stale => {}
            ClaimAnswer::Busy { .. } => return true,
        }
        false
    }

    /// Asks the barrier.
    fn claim(&mut self, step: usize, command: &Command) -> ClaimAnswer {
        let claim = Claim {
            task: Task {
                run: RunId::from_u128(1),
                step: std::sync::Arc::clone(self.model.definition.step_name(index(step))),
            },
            action: command.action,
            round: command.round,
            known: command.known.clone(),
            dispatched_at: command.dispatched_at,
            hold: HOLD,
        };
        let at = self.row_of(command.action);
        let (no_horizon, unsealed, unfenced) =
            (self.is(Mutant::NoHorizon), self.is(Mutant::EmptyUndoUnsealed), self.is(Mutant::FenceUnsealed));
        let party = self.world.party_mut(step);
        let horizon = if no_horizon { saga_core::Timestamp::default() } else { party.horizon };
        let before = party.rows[at].clone();
        let answer = party.rows[at].claim(&claim, horizon, party.row_now);
        let is_empty_undo = before == Row::default() && answer == ClaimAnswer::Reply(Report::Undone);
        if is_empty_undo && unsealed || command.action == Action::Fence && unfenced {
            party.rows[at] = before;
        } else {
            self.see_claim(step, &before, &answer, is_empty_undo);
        }
        answer
    }

    fn see_claim(&self, step: usize, before: &Row, answer: &ClaimAnswer, is_empty_undo: bool) {
        let party = &self.world.parties[step];
        let was_held = party.workers.iter().any(|worker| before.is_held_by(worker.token));
        if was_held && !matches!(answer, ClaimAnswer::Busy { .. } | ClaimAnswer::Reply(_)) {
            self.saw(Sight::ClaimOvertaken);
        }
        if is_empty_undo {
            self.saw(Sight::EmptyUndo);
        }
        match answer {
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::NoEffect }) => self.saw(Sight::FenceNoEffect),
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Done { .. } }) => self.saw(Sight::FenceDone),
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Unknown }) => self.saw(Sight::FenceUnknown),
            _ => {}
        }
    }

    fn row_of(&self, action: Action) -> usize {
        if self.is(Mutant::RowPerAction) { action as usize } else { 0 }
    }

    /// What must be true when a handler begins.
    fn check_run(&mut self, step: usize, action: Action, command: &Command) {
        let steps = &self.model.config.steps;
        let has_effect = |at: usize| self.world.parties[at].ledger.effect;
        if action == Action::Execute {
            if let Some(before) = steps[step].after.iter().copied().find(|before| !has_effect(*before)) {
                self.breaks(Law::Dependencies, format!("step {step} runs, and step {before} is not there"));
            }
        } else if command.action == Action::Undo {
            let pivot = steps.iter().position(|shape| shape.kind == Kind::Pivot);
            let later = (step + 1..steps.len()).find(|later| {
                steps[*later].kind == Kind::Compensatable && self.depends(*later, step) && has_effect(*later)
            });
            if pivot.is_some_and(has_effect) {
                self.breaks(Law::Pivot, format!("step {step} is undone, and the pivot is done"));
            } else if self.log().instance.cause().is_none() {
                self.breaks(Law::Cause, format!("step {step} is undone, and the saga has not failed"));
            }
            // An old claimant may have its effect at any time; then it is undone once more, in whatever order.
            if let Some(later) = later.filter(|_| self.model.config.handlers == Handlers::Transactional) {
                self.breaks(Law::Order, format!("step {step} is undone, and step {later} is still there"));
            }
        }
    }

    fn depends(&self, later: usize, earlier: usize) -> bool {
        let after = self.model.config.steps[later].after;
        after.contains(&earlier) || after.iter().any(|between| self.depends(*between, earlier))
    }

    /// Effect, row and reply, all at once.
    fn commit(&mut self, step: usize, worker: Worker, outcome: Outcome) {
        let Worker { command, action, token, .. } = worker;
        self.use_up(action, outcome);
        if self.is(Mutant::ReplyBeforeCommit) && outcome == Outcome::Done && self.world.left.has(Fault::Crash) {
            // The reply is out, and then the transaction is rolled back.
            self.world.left.take(Fault::Crash);
            self.world.party_mut(step).rows = Default::default();
            return self.reply(step, &command, outcome.report(action).expect("it is final"));
        }
        self.touch(step, action, command.round, outcome);
        let at = self.row_of(command.action);
        let is_stored = !self.is(Mutant::VerdictNotStored);
        let row = &mut self.world.party_mut(step).rows[at];
        if !is_stored {
            *row = Row::default();
            if let Some(report) = outcome.report(action) {
                self.reply(step, &command, report);
            }
            return;
        }
        match told(row, token, action, outcome, saga_core::Timestamp::default()) {
            Completed::Reply(report) => self.answer_with(step, &command, action, outcome, report),
            Completed::Free => {}
            other => panic!("a transaction cannot be overtaken: {other:?}"),
        }
    }

    fn run_unguarded(&mut self, step: usize, command: &Command, outcome: Outcome) {
        self.use_up(command.action, outcome);
        self.touch(step, command.action, command.round, outcome);
        if let Some(report) = outcome.report(command.action) {
            self.reply(step, command, report);
        }
    }

    /// The handler does its work.
    pub(crate) fn work(&mut self, step: usize, worker: usize, outcome: Outcome) {
        let it = &mut self.world.party_mut(step).workers[worker];
        it.stage = Stage::Acted(outcome);
        let (action, round) = (it.action, it.command.round);
        self.tale.say(|| format!("step {step}: the handler's {action} comes to {outcome:?}"));
        self.use_up(action, outcome);
        self.touch(step, action, round, outcome);
    }

    fn use_up(&mut self, action: Action, outcome: Outcome) {
        let fault = match (outcome, action) {
            (Outcome::Done, _) => return,
            (_, Action::Undo) => Fault::UndoFail,
            (Outcome::Refused, _) => Fault::Refuse,
            (Outcome::Failed { .. }, _) => Fault::Fail,
            (Outcome::Again { .. }, _) => Fault::Again,
        };
        self.world.left.take(fault);
    }

    /// The outside world changes.
    fn touch(&mut self, step: usize, action: Action, round: u32, outcome: Outcome) {
        let is_keyed = self.model.config.handlers == Handlers::Keyed;
        let ledger = &mut self.world.party_mut(step).ledger;
        if action == Action::Undo {
            if outcome == Outcome::Done {
                (ledger.effect, ledger.times) = (false, 0);
            }
            return;
        }
        if !outcome.has_effect() || (is_keyed && ledger.effect) {
            return;
        }
        ledger.effect = true;
        ledger.times += 1;
        let (times, is_undone, fenced) = (ledger.times, ledger.is_undone, ledger.fenced_round);
        if times > 1 {
            self.breaks(Law::Once, format!("step {step} has its effect {times} times"));
        }
        // An old claimant outside any transaction cannot be stopped; what it does is undone before its delivery is settled.
        if is_undone && !is_keyed {
            self.breaks(Law::NothingLeft, format!("step {step} has an effect after it was undone"));
        }
        if fenced.is_some_and(|fenced| round <= fenced) {
            self.breaks(Law::NothingLeft, format!("step {step} has an effect after a fence said that there is none"));
        }
    }

    /// The barrier is told how a handler's work went.
    pub(crate) fn complete(&mut self, step: usize, worker: usize) {
        let it = self.world.party_mut(step).workers.remove(worker);
        let Stage::Acted(outcome) = it.stage else { unreachable!("only what has acted is completed") };
        let at = self.row_of(it.command.action);
        let party = self.world.party_mut(step);
        let completed = told(&mut party.rows[at], it.token, it.action, outcome, party.row_now);
        self.tale.say(|| format!("step {step}: told of {:?} {outcome:?}, the barrier says {completed:?}", it.action));
        let is_again = matches!(outcome, Outcome::Again { .. });
        match completed {
            Completed::Reply(report) => self.answer_with(step, &it.command, it.action, outcome, report),
            Completed::UndoAgain { token, .. } => {
                self.saw(Sight::UndoneOnceMore);
                if !self.is(Mutant::OldClaimantIgnored) {
                    let worker = Worker { action: Action::Undo, token, stage: Stage::Running, ..it };
                    self.world.party_mut(step).workers.push(worker);
                }
            }
            Completed::Free | Completed::Overtaken if is_again => {
                self.world.party_mut(step).workers.push(Worker { stage: Stage::Waiting, ..it });
            }
            Completed::Free | Completed::Overtaken => {}
        }
    }

    /// Answers with what the barrier has stored. Undoing once more is reported to nobody.
    fn answer_with(&mut self, step: usize, command: &Command, action: Action, outcome: Outcome, report: Report) {
        if outcome == Outcome::Refused && !matches!(report, Report::Rejected { .. }) {
            self.saw(Sight::RefusalDoubted);
        }
        let report = match outcome.report(action) {
            Some(own) if self.is(Mutant::RefusalOfLastAttempt) => own,
            _ => report,
        };
        if action == command.action {
            self.reply(step, command, report);
        } else {
            self.saw(Sight::UndoneOnceMore);
        }
    }

    pub(crate) fn crash(&mut self, step: usize, worker: usize) {
        self.world.left.take(Fault::Crash);
        let is_settled = self.is(Mutant::AcknowledgeBeforeVerdict);
        let workers = &mut self.world.party_mut(step).workers;
        if is_settled {
            workers.remove(worker);
        } else {
            workers[worker].stage = Stage::Waiting;
        }
    }

    /// An unsettled delivery comes again.
    pub(crate) fn redeliver(&mut self, step: usize, worker: usize) {
        let it = self.world.party_mut(step).workers.remove(worker);
        let is_busy = self.deliver(step, it.command.clone(), Outcome::Done);
        if is_busy && !self.is(Mutant::LiveClaimAcknowledged) {
            self.world.party_mut(step).workers.insert(worker, it);
        }
    }

    /// A reply is put on the bus.
    fn reply(&mut self, step: usize, command: &Command, report: Report) {
        let unread_since = (self.model.config.has_deadlines() && !self.is_fair).then_some(self.world.now);
        let reply = Reply { action: command.action, round: command.round, report, unread_since };
        self.tale.say(|| format!("  reply of step {step}: {:?}", reply.report));
        let is_keyed = self.model.config.handlers == Handlers::Keyed;
        let party = self.world.party_mut(step);
        let ledger = &mut party.ledger;
        let is_wrong = match &reply.report {
            Report::Undone => {
                ledger.is_undone = true;
                ledger.effect && !is_keyed
            }
            Report::Fenced { answer: FenceAnswer::NoEffect } => {
                ledger.fenced_round = Some(command.round);
                ledger.effect
            }
            Report::Rejected { .. } => {
                ledger.has_refused = true;
                false
            }
            Report::Failed { .. } => {
                ledger.has_failed = true;
                false
            }
            _ => false,
        };
        let like = |it: &&mut Reply| {
            (it.action, it.round, &it.report) == (reply.action, reply.round, &reply.report)
        };
        match party.replies.iter_mut().find(like) {
            Some(known) => known.unread_since = known.unread_since.or(unread_since),
            None => party.replies.push(reply.clone()),
        }
        if is_wrong {
            self.breaks(Law::NothingLeft, format!("step {step} says {:?}, and its effect is there", reply.report));
        }
        self.sent.push((step, Mail::Reply(reply)));
    }
}

fn told(
    row: &mut Row,
    token: ClaimToken,
    action: Action,
    outcome: Outcome,
    now: saga_core::Timestamp,
) -> Completed {
    let performed = outcome.report(action).map_or(Performed::Again, Performed::Final);
    row.complete(token, performed, now)
}
