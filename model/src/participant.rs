//! The participants' shell: claim at the real barrier, run the handler, tell the barrier, reply, settle.

use saga_core::participant::barrier::Row;
use saga_core::ports::{Claim, ClaimAnswer, ClaimToken, Completed, Effects, Performed};
use saga_core::record::{Action, FenceAnswer, Report};
use saga_core::{Kind, Timestamp};

use crate::acts::Run;
use crate::config::{Fault, HOLD, Handlers};
use crate::coverage::Sight;
use crate::laws::Law;
use crate::model::Model;
use crate::mutants::Mutant;
use crate::play::{Mail, Play};
use crate::world::{Command, Outcome, Party, Reply, Stage, Worker};

impl Play<'_> {
    /// Delivers a command, and says whether it met a live claim and was given back.
    pub(crate) fn deliver(&mut self, step: usize, command: Command, run: Run) -> bool {
        self.tale.say(|| format!("step {step} gets {command:?}"));
        if self.is(Mutant::NoBarrier) && command.action != Action::Fence {
            let Run::Through(outcome) = run else { return false };
            self.run_unguarded(step, &command, outcome);
            return false;
        }
        let answer = self.claim(step, &command);
        self.tale.say(|| format!("  barrier: {answer:?}"));
        match answer {
            ClaimAnswer::Run { token, action, attempt: _, output: _ } => {
                self.check_run(step, action, &command);
                let worker = Worker { command, action, token, stage: Stage::Running };
                match (self.model.config.handlers, run) {
                    (Handlers::Transactional, Run::Through(outcome)) => self.commit(step, worker, outcome),
                    (Handlers::Transactional, Run::Begun) => {}
                    (Handlers::Claimed | Handlers::Keyed, run) => self.begin(step, worker, run),
                }
            }
            ClaimAnswer::Reply(report) => self.reply(step, &command, report),
            ClaimAnswer::Stale => {}
            ClaimAnswer::Busy { .. } => return true,
        }
        false
    }

    fn begin(&mut self, step: usize, worker: Worker, run: Run) {
        let workers = &mut self.world.party_mut(step).workers;
        let at = workers.len();
        workers.push(worker);
        if let Run::Through(outcome) = run {
            self.work(step, at, outcome);
            if self.model.config.handlers == Handlers::Keyed {
                self.complete(step, at);
            }
        }
    }

    /// Asks the barrier.
    fn claim(&mut self, step: usize, command: &Command) -> ClaimAnswer {
        let party = &self.world.parties[step];
        let before = &party.rows[self.model.row_of(command.action)];
        let mut row = before.clone();
        let answer = self.model.ask(&mut row, party, command);
        let is_empty_undo = *before == Row::default() && answer == ClaimAnswer::Reply(Report::Undone);
        let is_unsealed = is_empty_undo && self.is(Mutant::EmptyUndoUnsealed)
            || command.action == Action::Fence && self.is(Mutant::FenceUnsealed);
        if row != *before && !is_unsealed {
            self.see_claim(step, before, &answer, is_empty_undo);
            self.world.party_mut(step).rows[self.model.row_of(command.action)] = row;
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
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::NoEffect }) => {
                self.saw(Sight::FenceNoEffect)
            }
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Done { .. } }) => {
                self.saw(Sight::FenceDone)
            }
            ClaimAnswer::Reply(Report::Fenced { answer: FenceAnswer::Unknown }) => {
                self.saw(Sight::FenceUnknown)
            }
            _ => {}
        }
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
            if let Some(later) = later.filter(|_| self.model.config.handlers != Handlers::Keyed) {
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
        if self.is(Mutant::ReplyBeforeCommit) && outcome == Outcome::Done && self.world.left.has(Fault::Crash)
        {
            // The reply is out, and then the transaction is rolled back.
            self.world.left.take(Fault::Crash);
            self.world.party_mut(step).rows = Default::default();
            return self.reply(step, &command, outcome.report(action).expect("it is final"));
        }
        self.touch(step, action, command.round, outcome);
        let at = self.model.row_of(command.action);
        let is_stored = !self.is(Mutant::VerdictNotStored);
        let row = &mut self.world.party_mut(step).rows[at];
        if !is_stored {
            *row = Row::default();
            if let Some(report) = outcome.report(action) {
                self.reply(step, &command, report);
            }
            return;
        }
        match told(row, token, action, outcome, Timestamp::default()) {
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

    /// The handler does its work. In a transaction it does so under its row, and the row is told of it at once.
    pub(crate) fn work(&mut self, step: usize, worker: usize, outcome: Outcome) {
        if self.model.config.handlers == Handlers::Claimed {
            let party = &self.world.parties[step];
            let it = &party.workers[worker];
            let is_held = party.rows[self.model.row_of(it.command.action)].is_held_by(it.token);
            if is_held || self.is(Mutant::LateCommit) {
                self.have_effect(step, worker, outcome);
            } else {
                self.saw(Sight::CommitTooLate);
                self.world.party_mut(step).workers[worker].stage =
                    Stage::Acted(Outcome::Again { effect: false });
            }
            self.complete(step, worker);
        } else {
            self.have_effect(step, worker, outcome);
        }
    }

    fn have_effect(&mut self, step: usize, worker: usize, outcome: Outcome) {
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
            self.breaks(
                Law::NothingLeft,
                format!("step {step} has an effect after a fence said that there is none"),
            );
        }
    }

    /// The barrier is told how a handler's work went.
    pub(crate) fn complete(&mut self, step: usize, worker: usize) {
        let it = self.world.party_mut(step).workers.remove(worker);
        let Stage::Acted(outcome) = it.stage else { unreachable!("only what has acted is completed") };
        let at = self.model.row_of(it.command.action);
        let party = self.world.party_mut(step);
        let completed = told(&mut party.rows[at], it.token, it.action, outcome, party.row_now);
        self.tale.say(|| {
            format!("step {step}: told of {:?} {outcome:?}, the barrier says {completed:?}", it.action)
        });
        let is_again = matches!(outcome, Outcome::Again { .. });
        let is_once_more = it.action != it.command.action;
        match completed {
            Completed::Reply(report) => self.answer_with(step, &it.command, it.action, outcome, report),
            Completed::UndoAgain { token, .. } => {
                self.saw(Sight::UndoneOnceMore);
                if !self.is(Mutant::OldClaimantIgnored) {
                    let worker = Worker { action: Action::Undo, token, stage: Stage::Running, ..it };
                    self.world.party_mut(step).workers.push(worker);
                }
            }
            // Of an execution that was not overtaken the row knows enough: what comes again may as well be a new delivery.
            Completed::Overtaken | Completed::Free
                if is_again && (is_once_more || completed == Completed::Overtaken) =>
            {
                self.world.party_mut(step).workers.push(Worker { stage: Stage::Waiting, ..it });
            }
            Completed::Free | Completed::Overtaken => {}
        }
    }

    /// Answers with what the barrier has stored. Undoing once more is reported to nobody.
    fn answer_with(
        &mut self,
        step: usize,
        command: &Command,
        action: Action,
        outcome: Outcome,
        report: Report,
    ) {
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
    pub(crate) fn redeliver(&mut self, step: usize, worker: usize, run: Run) {
        let it = self.world.party_mut(step).workers.remove(worker);
        let is_busy = self.deliver(step, it.command.clone(), run);
        if is_busy && !self.is(Mutant::LiveClaimAcknowledged) {
            self.world.party_mut(step).workers.insert(worker, it);
        }
    }

    /// A reply is put on the bus.
    fn reply(&mut self, step: usize, command: &Command, report: Report) {
        let unread_since = (self.model.config.has_deadlines() && !self.is_fair).then_some(self.world.now);
        let reply = Reply { action: command.action, round: command.round, report, unread_since };
        self.tale.say(|| format!("  reply of step {step}: {:?}", reply.report));
        self.keep_books(step, &reply);
        let like =
            |it: &Reply| (it.action, it.round, &it.report) == (reply.action, reply.round, &reply.report);
        let replies = &self.world.parties[step].replies;
        match replies.iter().position(like) {
            Some(at) if replies[at].unread_since.is_none() && unread_since.is_some() => {
                self.world.party_mut(step).replies[at].unread_since = unread_since;
            }
            Some(_) => {}
            None => self.world.party_mut(step).replies.push(reply.clone()),
        }
        self.sent.push((step, Mail::Reply(reply)));
    }

    /// What was said is held against what is true.
    fn keep_books(&mut self, step: usize, reply: &Reply) {
        let ledger = self.world.parties[step].ledger;
        let mut after = ledger;
        let is_keyed = self.model.config.handlers == Handlers::Keyed;
        let mut is_wrong = false;
        match &reply.report {
            Report::Undone => {
                after.is_undone = true;
                is_wrong = ledger.effect && !is_keyed;
            }
            Report::Fenced { answer: FenceAnswer::NoEffect } => {
                after.fenced_round = Some(reply.round);
                is_wrong = ledger.effect;
            }
            Report::Rejected { .. } => after.has_refused = true,
            Report::Failed { .. } => after.has_failed = true,
            _ => {}
        }
        if after != ledger {
            self.world.party_mut(step).ledger = after;
        }
        // What an operator has seen to is there although no command did it.
        if is_wrong && !ledger.is_declared {
            self.breaks(
                Law::NothingLeft,
                format!("step {step} says {:?}, and its effect is there", reply.report),
            );
        }
    }
}

impl Model {
    /// Asks the barrier: the row answers, and changes.
    fn ask(&self, row: &mut Row, party: &Party, command: &Command) -> ClaimAnswer {
        let claim = Claim {
            // The row does not look at whose it is.
            task: self.task.clone(),
            action: command.action,
            round: command.round,
            known: command.known.clone(),
            dispatched_at: command.dispatched_at,
            hold: HOLD,
            effects: match self.config.handlers {
                Handlers::Transactional | Handlers::Claimed => Effects::InTransaction,
                Handlers::Keyed => Effects::Anywhere,
            },
        };
        let horizon = if self.is(Mutant::NoHorizon) { Timestamp::default() } else { party.horizon };
        row.claim(&claim, horizon, party.row_now)
    }

    /// What a delivery would run, if anything.
    pub(crate) fn would_run(&self, party: &Party, command: &Command) -> Option<Action> {
        if self.is(Mutant::NoBarrier) {
            return Some(command.action).filter(|action| *action != Action::Fence);
        }
        let mut row = party.rows[self.row_of(command.action)].clone();
        match self.ask(&mut row, party, command) {
            ClaimAnswer::Run { action, .. } => Some(action),
            _ => None,
        }
    }

    fn row_of(&self, action: Action) -> usize {
        if self.is(Mutant::RowPerAction) { action as usize } else { 0 }
    }
}

fn told(row: &mut Row, token: ClaimToken, action: Action, outcome: Outcome, now: Timestamp) -> Completed {
    let performed = outcome.report(action).map_or(Performed::Again, Performed::Final);
    row.complete(token, performed, now)
}
