//! One act, played: the model's shells around the real machine and the real barrier.

use std::sync::Arc;

use saga_core::Payload;
use saga_core::machine::{Event, Instance};
use saga_core::record::{Action, Entry, Fact, HeldInput, Report, RunId};

use crate::acts::{Act, Answer, Who, index};
use crate::config::{Fault, HOLD, LEAP};
use crate::coverage::Sight;
use crate::laws::{Broken, Law};
use crate::model::Model;
use crate::mutants::Mutant;
use crate::world::{Command, Filed, Outcome, Reply, Second, World};

/// A world in which something happens.
pub(crate) struct Play<'a> {
    pub(crate) model: &'a Model,
    pub(crate) world: World,
    pub(crate) tale: &'a mut Tale,
    /// What was put on the bus since the play began.
    pub(crate) sent: Vec<(usize, Mail)>,
    /// Nothing goes wrong any more.
    pub(crate) is_fair: bool,
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    Command(Command),
    Reply(Reply),
}

/// What happened, in words, if somebody wants to read it.
pub(crate) struct Tale(Option<Vec<String>>);

impl Tale {
    pub(crate) const fn untold() -> Self {
        Self(None)
    }

    pub(crate) const fn told() -> Self {
        Self(Some(Vec::new()))
    }

    pub(crate) const fn is_told(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(line());
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

impl<'a> Play<'a> {
    pub(crate) const fn new(model: &'a Model, world: World, tale: &'a mut Tale) -> Self {
        Self { model, world, tale, sent: Vec::new(), is_fair: false }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.model.is(mutant)
    }

    pub(crate) fn saw(&self, sight: Sight) {
        self.model.coverage.saw(sight);
    }

    /// The first law that is broken is the one to be told of.
    pub(crate) fn breaks(&mut self, law: Law, how: impl std::fmt::Display) {
        let broken: Broken = law.broken(how);
        self.tale.say(|| format!("BROKEN: {}: {}", law.name(), broken.how));
        self.world.broken.get_or_insert(broken);
    }

    /// What the log holds.
    pub(crate) fn log(&self) -> &Arc<Filed> {
        self.world.saga.as_ref().expect("the saga was started")
    }

    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Start => self.start(),
            Act::Deliver { step, command, run } => {
                let command = self.world.parties[step].commands[command].clone();
                self.deliver(step, command, run);
            }
            Act::Redeliver { step, worker, run } => self.redeliver(step, worker, run),
            Act::Work { step, worker, outcome } => self.work(step, worker, outcome),
            Act::Complete { step, worker } => self.complete(step, worker),
            Act::Crash { step, worker } => self.crash(step, worker),
            Act::Expire { step } => self.expire(step),
            Act::Answer { step, reply, by } => self.answer(step, reply, by),
            Act::Lose { step, reply } => {
                self.world.left.take(Fault::Lose);
                self.world.party_mut(step).replies[reply].unread_since = None;
            }
            Act::Hold { step, reply } => self.hold(step, reply),
            Act::Prune { step } => self.prune(step),
            Act::Resend => self.resend(),
            Act::Leap => {
                self.world.left.take(Fault::Leap);
                self.world.now = self.world.now.after(LEAP);
                self.refile();
            }
            Act::Wake => self.wake(),
            Act::Read => {
                self.world.left.take(Fault::Stale);
                self.world.second = Second::Read(Arc::clone(self.log()));
            }
            Act::Cancel { by } => self.cancel(by),
            Act::Operate { deed, by } => self.operate(deed, by),
            Act::Call { answer } => self.call(answer),
        }
    }

    fn start(&mut self) {
        if self.is(Mutant::AcknowledgeBeforeAppend) {
            self.world.is_start_settled = true;
            return self.breaks(Law::Acknowledged, "the start command is settled, and the log has no saga");
        }
        let definition = Arc::clone(&self.model.definition);
        let input = Payload::from("3");
        let (live, entries) =
            Instance::start(Arc::clone(&definition), RunId::from_u128(1), input, None, self.world.now);
        match Instance::replay(definition, &entries) {
            Ok(stored) if stored.is_same(&live) => {}
            Ok(_) => self.breaks(Law::Replay, "the first entries make another saga"),
            Err(corrupt) => self.breaks(Law::Replay, corrupt),
        }
        self.world.is_start_settled = true;
        self.file(live, &entries);
    }

    fn expire(&mut self, step: usize) {
        if self.world.parties[step].is_claimant_alive() {
            self.world.left.take(Fault::Expire);
        }
        self.let_claims_run_out(step);
    }

    pub(crate) fn let_claims_run_out(&mut self, step: usize) {
        let party = self.world.party_mut(step);
        party.row_now = party.row_now.after(HOLD);
    }

    fn answer(&mut self, step: usize, reply: usize, by: Who) {
        let it = self.world.parties[step].replies[reply].clone();
        if self.handle(by, reply_event(step, &it), true) && it.unread_since.is_some() {
            self.world.party_mut(step).replies[reply].unread_since = None;
        }
    }

    fn hold(&mut self, step: usize, reply: usize) {
        self.world.left.take(Fault::Hold);
        let it = &mut self.world.party_mut(step).replies[reply];
        it.unread_since = None;
        let Reply { action, round, report, .. } = it.clone();
        let step = Arc::clone(self.model.definition.step_name(index(step)));
        let fact = Fact::Held { input: HeldInput::Reply { step, action, round, report } };
        let entry = Entry { at: self.world.now, fact };
        let mut live = self.log().instance.clone();
        if let Err(corrupt) = live.apply(&entry) {
            self.breaks(Law::Replay, corrupt);
        }
        self.file(live, &[entry]);
    }

    fn prune(&mut self, step: usize) {
        self.world.left.take(Fault::Prune);
        let now = self.world.now;
        let party = self.world.party_mut(step);
        party.rows = Default::default();
        party.horizon = now.after(HOLD);
        // Rows live longer than commands.
        party.commands.retain(|command| command.action != Action::Execute);
        self.saw(Sight::RowPruned);
    }

    fn call(&mut self, answer: Answer) {
        if answer != Answer::Recorded {
            self.world.left.take(Fault::CallbackFail);
        }
        let event = match answer {
            Answer::Recorded => Some(Event::CallbackAnswered),
            Answer::Failed => Some(Event::CallbackFailed { reason: "no answer".into() }),
            Answer::Forgotten => None,
        };
        self.called();
        if let Some(event) = event {
            self.handle(Who::First, event, false);
        }
    }
}

/// What a reply is to the machine.
pub(crate) fn reply_event(step: usize, reply: &Reply) -> Event {
    Event::Reply { step: index(step), action: reply.action, round: reply.round, report: reply.report.clone() }
}

impl Outcome {
    /// Whether an execution with this outcome has had its effect.
    pub(crate) const fn has_effect(self) -> bool {
        matches!(self, Self::Done | Self::Failed { effect: true } | Self::Again { effect: true })
    }

    /// What the handler has to say, unless it is to be tried again.
    pub(crate) fn report(self, action: Action) -> Option<Report> {
        let reason: Arc<str> = "no luck".into();
        Some(match (self, action) {
            (Self::Again { .. }, _) => return None,
            (Self::Done, Action::Undo) => Report::Undone,
            (Self::Done, _) => Report::Succeeded { output: crate::acts::output() },
            (_, Action::Undo) => Report::UndoFailed { reason },
            (Self::Refused, _) => Report::Rejected { reason },
            (Self::Failed { .. }, _) => Report::Failed { reason },
        })
    }
}
