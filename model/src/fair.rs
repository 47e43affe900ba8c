//! The fair run: from some state on nothing goes wrong any more. Whatever was on the bus by then is lost; what comes of it is that the saga
//! ends or is parked, and that an operator can end what is parked.

use saga_core::machine::Effect;
use saga_core::record::Status;

use crate::acts::{Act, Answer, Deed, Run, Who};
use crate::laws::{self, Broken, Law};
use crate::play::{Mail, Play, reply_event};
use crate::world::{Outcome, Stage};

/// How many moves a fair run may take: several times what the longest one needs.
const MOVES_MAX: usize = 400;

impl Play<'_> {
    /// Runs to rest and says what is wrong with it, if anything.
    pub(crate) fn come_to_rest(mut self) -> Option<Broken> {
        self.is_fair = true;
        self.tale.say(|| "-- a fair run from here --".to_owned());
        if self.world.saga.is_none() {
            if self.world.is_start_settled {
                self.breaks(Law::Ends, "the saga was never started, and nobody will start it");
                return self.world.broken;
            }
            self.act(Act::Start);
        }
        self.run();
        self.check_rest();
        self.help();
        self.world.broken
    }

    fn run(&mut self) {
        for _ in 0..MOVES_MAX {
            if self.world.broken.is_some() || !self.moves() {
                return;
            }
        }
        self.breaks(Law::Ends, format!("it goes on for ever, {}", self.log().instance.status()));
    }

    /// One move, if anything is left to happen.
    fn moves(&mut self) -> bool {
        if let Some(step) =
            (0..self.world.parties.len()).find(|step| !self.world.parties[*step].workers.is_empty())
        {
            self.work_on(step);
            return true;
        }
        if !self.sent.is_empty() {
            let (step, mail) = self.sent.remove(0);
            self.arrive(step, mail);
            return true;
        }
        let Some(at) = self.log().wake_at else { return false };
        self.world.now = self.world.now.max(at);
        for step in 0..self.world.parties.len() {
            self.world.party_mut(step).replies.iter_mut().for_each(|reply| reply.unread_since = None);
        }
        self.wake();
        self.resend();
        let is_due = |effect: &Effect| matches!(effect, Effect::Callback { not_before, .. } if *not_before <= self.world.now);
        if self.log().instance.owed().iter().any(is_due) {
            self.act(Act::Call { answer: Answer::Recorded });
        }
        true
    }

    fn work_on(&mut self, step: usize) {
        let workers = &self.world.parties[step].workers;
        if let Some(worker) = workers.iter().position(|worker| worker.stage == Stage::Running) {
            return self.work(step, worker, Outcome::Done);
        }
        if let Some(worker) = workers.iter().position(|worker| worker.stage != Stage::Waiting) {
            return self.complete(step, worker);
        }
        let count = workers.len();
        self.redeliver(step, 0, Run::Through(Outcome::Done));
        let is_given_back = self.world.parties[step].workers.len() == count
            && self.world.parties[step].workers.iter().all(|worker| worker.stage == Stage::Waiting);
        if is_given_back {
            // The claim is that of someone who has crashed.
            self.let_claims_run_out(step);
        }
    }

    fn arrive(&mut self, step: usize, mail: Mail) {
        match mail {
            Mail::Reply(reply) => {
                self.handle(Who::First, reply_event(step, &reply), true);
            }
            Mail::Command(command) => {
                if self.deliver(step, command.clone(), Run::Through(Outcome::Done)) {
                    self.let_claims_run_out(step);
                    self.sent.push((step, Mail::Command(command)));
                }
            }
        }
    }

    fn check_rest(&mut self) {
        if self.world.broken.is_some() {
            return;
        }
        let instance = &self.log().instance;
        let status = instance.status();
        let is_over = status == Status::Parked || status.is_ended() && instance.settled().is_some();
        if !is_over {
            return self.breaks(Law::Ends, format!("it hangs, {status}"));
        }
        if let Some(broken) = laws::at_rest(self.model, &self.world) {
            self.tale.say(|| format!("BROKEN: {}: {}", broken.law.name(), broken.how));
            self.world.broken = Some(broken);
        }
    }

    /// Operators try again, then say what each step is, until the saga ends.
    fn help(&mut self) {
        for _ in 0..2 {
            self.operate_if_parked(Deed::Retry);
            for step in 0..self.world.parties.len() {
                for deed in [Deed::Done(step), Deed::NoEffect(step), Deed::Undone(step)] {
                    self.operate_if_parked(deed);
                }
            }
        }
        if self.is_parked() {
            self.breaks(Law::Ends, "operators cannot end it");
        }
    }

    fn operate_if_parked(&mut self, deed: Deed) {
        if self.is_parked() {
            self.operate(deed, Who::First);
            self.run();
            self.check_rest();
        }
    }

    fn is_parked(&self) -> bool {
        self.world.broken.is_none() && self.log().instance.status() == Status::Parked
    }
}
