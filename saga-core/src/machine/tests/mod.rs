//! What the machine does, rule by rule; and in `random`, what it never does whatever happens.

mod ends;
mod forward;
mod operators;
mod outcomes;
mod pivot;
mod random;
mod rounds;
mod unwinding;
mod waking;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::{Contract, NoUndo, Pivot, Retriable};
use crate::definition::{Saga, SagaBuilder};
use crate::machine::{Effect, Event, Impossible, Instance, Resend};
use crate::record::{
    Action, Entry, Fact, FenceAnswer, Operation, Payload, Report, Resolution, RunId, Status, StepIndex,
    Timestamp, Verb,
};

const A: Contract<u64, u64> = Contract::new("a");
const B: Contract<u64, u64> = Contract::new("b");
const C: Contract<u64, u64> = Contract::new("c");
const D: Contract<u64, u64> = Contract::new("d");
const MAIL: Contract<u64, u64, NoUndo> = Contract::new("mail");
const NOTE: Contract<u64, u64, NoUndo> = Contract::new("note");
const PAY: Contract<u64, u64, Pivot> = Contract::new("pay");
const SHIP: Contract<u64, u64, Retriable> = Contract::new("ship");
const BILL: Contract<u64, u64, Retriable> = Contract::new("bill");

/// A wake by which no deadline may fire.
const NO_DEADLINES: Event = Event::Wake { deadlines_until: Timestamp::from_millis(0) };

/// The input of every saga here.
const INPUT: u64 = 7;
const NOTHING: [&str; 0] = [];

/// One saga, told what happens to it. After every event it checks that its record makes the same saga again, and that the same reply once
/// more changes nothing.
struct Play {
    saga: Instance,
    record: Vec<Entry>,
    now: Timestamp,
}

impl Play {
    fn of(describe: impl FnOnce(&mut SagaBuilder<u64>)) -> Self {
        let mut builder = Saga::<u64>::builder("play", 1);
        describe(&mut builder);
        let definition = Arc::clone(builder.build().unwrap().definition());
        let input = Payload::json(&INPUT).unwrap();
        let now = Timestamp::from_millis(1_000_000);
        let (saga, record) = Instance::start(definition, RunId::from_u128(1), input, None, now);
        let play = Self { saga, record, now };
        play.check_replay();
        play
    }

    fn index(&self, step: &str) -> StepIndex {
        self.saga.definition().step_index(step).unwrap()
    }

    fn event(&mut self, event: Event) -> Result<Vec<Fact>, Impossible> {
        let before = self.saga.state.clone();
        let entries = match self.saga.decide(event.clone(), self.now) {
            Ok(entries) => entries,
            Err(impossible) => {
                assert_eq!(self.saga.state, before, "the impossible changes nothing");
                return Err(impossible);
            }
        };
        self.record.extend_from_slice(&entries);
        self.check_replay();
        if matches!(event, Event::Reply { .. }) {
            assert_eq!(
                self.saga.clone().decide(event, self.now),
                Ok(vec![]),
                "a repeated reply changes nothing"
            );
        }
        Ok(entries.into_iter().map(|entry| entry.fact).collect())
    }

    fn check_replay(&self) {
        let again = Instance::replay(Arc::clone(self.saga.definition()), &self.record).unwrap();
        assert_eq!(again.state, self.saga.state);
    }

    fn reply(
        &mut self,
        step: &str,
        action: Action,
        round: u32,
        report: Report,
    ) -> Result<Vec<Fact>, Impossible> {
        let step = self.index(step);
        self.event(Event::Reply { step, action, round, report })
    }

    /// A reply to the step's current round.
    fn says(&mut self, step: &str, action: Action, report: Report) -> Vec<Fact> {
        let round = self.saga.round(self.index(step));
        self.reply(step, action, round, report).unwrap()
    }

    fn succeeds(&mut self, step: &str, output: u64) -> Vec<Fact> {
        self.says(step, Action::Execute, succeeded(output))
    }

    fn rejects(&mut self, step: &str) -> Vec<Fact> {
        self.says(step, Action::Execute, rejected())
    }

    fn fails(&mut self, step: &str) -> Vec<Fact> {
        self.says(step, Action::Execute, failed())
    }

    fn garbles(&mut self, step: &str) -> Vec<Fact> {
        self.says(step, Action::Execute, Report::Succeeded { output: garbage() })
    }

    fn undone(&mut self, step: &str) -> Vec<Fact> {
        self.says(step, Action::Undo, Report::Undone)
    }

    fn undo_fails(&mut self, step: &str) -> Vec<Fact> {
        self.says(step, Action::Undo, undo_failed())
    }

    fn fenced(&mut self, step: &str, answer: FenceAnswer) -> Vec<Fact> {
        self.says(step, Action::Fence, Report::Fenced { answer })
    }

    /// Time passes, then the saga is woken.
    fn wakes_after(&mut self, seconds: u64) -> Vec<Fact> {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.event(Event::Wake { deadlines_until: Timestamp::MAX }).unwrap()
    }

    fn cancels(&mut self) -> Vec<Fact> {
        self.event(Event::Cancel { who: "ann".into(), why: "no longer wanted".into() }).unwrap()
    }

    fn operates(&mut self, verb: Verb) -> Result<Vec<Fact>, Impossible> {
        self.event(Event::Operate(Operation { verb, who: "ann".into(), why: "because".into() }))
    }

    fn retries(&mut self, step: Option<&str>) -> Result<Vec<Fact>, Impossible> {
        let step = step.map(|step| self.index(step));
        self.operates(Verb::Retry { step })
    }

    fn resolves(&mut self, step: &str, resolution: Resolution) -> Result<Vec<Fact>, Impossible> {
        let step = self.index(step);
        self.operates(Verb::Resolve { step, resolution })
    }

    fn hold(&mut self, input: crate::record::HeldInput) {
        self.stored(Fact::Held { input });
    }

    /// The record says so, whoever wrote it.
    fn stored(&mut self, fact: Fact) {
        let entry = Entry { at: self.now, fact };
        self.saga.apply(&entry).unwrap();
        self.record.push(entry);
    }

    fn shown(&self, effect: Effect) -> String {
        match effect {
            Effect::Command { step, action, round } => {
                let mut shown = format!("{action} {}", self.saga.definition().step_name(step));
                if round > 1 {
                    write!(shown, " in round {round}").unwrap();
                }
                shown
            }
            Effect::Announce(announcement) => format!("announce {announcement}"),
            Effect::Callback { attempt, .. } => format!("call back, attempt {attempt}"),
        }
    }

    #[track_caller]
    fn owes<const N: usize>(&self, expected: [&str; N]) {
        let owed: Vec<_> = self.saga.owed().into_iter().map(|effect| self.shown(effect)).collect();
        assert_eq!(owed, expected);
    }

    #[track_caller]
    fn is(&self, status: Status) {
        assert_eq!(self.saga.status(), status, "{:#?}", self.saga.state);
    }

    /// How many facts of a sort are recorded.
    fn count(&self, is_such: impl Fn(&Fact) -> bool) -> usize {
        self.record.iter().filter(|entry| is_such(&entry.fact)).count()
    }

    fn input_of(&self, step: &str) -> u64 {
        self.saga.step_input(self.index(step)).0.parse().unwrap()
    }

    fn wake_in(&self) -> Option<Duration> {
        self.saga.wake_at(self.now, &Resend::DEFAULT).map(|at| at.since(self.now))
    }
}

/// `mail` beside `a → pay → ship`.
fn shop(saga: &mut SagaBuilder<u64>) {
    let a = saga.step(&A, |n| *n);
    saga.step(&MAIL, |n| *n);
    let pay = saga.step_after(&a, &PAY, |_, a| a);
    saga.step_after(&pay, &SHIP, |_, pay| pay);
    saga.configure(&pay).deadline(Duration::from_secs(30));
}

/// The `shop` with `a` done, so that the pivot is in flight.
fn paying() -> Play {
    let mut play = Play::of(shop);
    play.succeeds("a", 1);
    play
}

fn succeeded(output: u64) -> Report {
    Report::Succeeded { output: Payload::json(&output).unwrap() }
}

fn rejected() -> Report {
    Report::Rejected { reason: "refused".into() }
}

fn failed() -> Report {
    Report::Failed { reason: "gave up".into() }
}

fn undo_failed() -> Report {
    Report::UndoFailed { reason: "cannot undo".into() }
}

fn garbage() -> Payload {
    "\"not a number\"".into()
}

fn done(output: u64) -> Resolution {
    Resolution::Done { output: Payload::json(&output).unwrap() }
}

fn found_done(output: u64) -> FenceAnswer {
    FenceAnswer::Done { output: Payload::json(&output).unwrap() }
}

fn not_allowed(result: Result<Vec<Fact>, Impossible>) -> String {
    match result {
        Err(Impossible::NotAllowed { problem }) => problem,
        other => panic!("not refused: {other:?}"),
    }
}
