use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Dice;
use super::definitions::Broken;
use super::participant::Row;
use crate::definition::Definition;
use crate::machine::tests::{done, garbage};
use crate::machine::{Effect, Event, Instance, Resend};
use crate::record::{
    Action, Announcement, Entry, Fact, FenceAnswer, HeldInput, Operation, Payload, Report, Resolution, RunId,
    Status, StepIndex, Timestamp, Verb,
};

/// How participants behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// They keep the barrier's promises.
    Honest,
    /// They say anything.
    Wild,
}

/// What is under way on the bus.
#[derive(Clone)]
enum Packet {
    Command { step: StepIndex, action: Action, round: u32 },
    Arrival(Event),
}

/// One saga, its participants, the bus between them, and a coordinator that may crash.
pub(super) struct World {
    pub(super) live: Instance,
    /// Made of the record alone, entry by entry.
    pub(super) shadow: Instance,
    pub(super) record: Vec<Entry>,
    pub(super) rows: Vec<Row>,
    pub(super) now: Timestamp,
    /// What was decided since the coordinator performed something last, and what was owed by then.
    pub(super) batch: Vec<Entry>,
    pub(super) owed_before: Vec<Effect>,
    bus: Vec<Packet>,
    broken: Broken,
    dice: Dice,
    manners: Manners,
    is_faulty: bool,
}

impl World {
    pub(super) fn begin(
        definition: Arc<Definition>,
        broken: Broken,
        mut dice: Dice,
        manners: Manners,
    ) -> Self {
        if dice.chance(20) {
            broken.store(dice.below(256) as u16, Ordering::Relaxed);
        }
        let now = Timestamp::from_millis(1_000_000);
        let rows = vec![Row::default(); definition.steps.len()];
        let run = RunId::from_u128(1);
        let (live, record) = Instance::start(Arc::clone(&definition), run, Payload::from("3"), None, now);
        let shadow = Instance::replay(definition, &record).unwrap();
        let batch = record.clone();
        let owed_before = Vec::new();
        let bus = Vec::new();
        let mut world = Self {
            live,
            shadow,
            record,
            rows,
            now,
            batch,
            owed_before,
            bus,
            broken,
            dice,
            manners,
            is_faulty: true,
        };
        world.check_state();
        world.perform_new();
        world
    }

    /// Things happen until the dice are spent.
    pub(super) fn play(&mut self) {
        while !self.dice.is_spent() {
            match self.dice.below(20) {
                0..=9 => self.deliver(),
                10..=13 => self.let_time_pass(),
                14 => self.crash(),
                15 => self.broken.store(self.dice.below(256) as u16, Ordering::Relaxed),
                16 => self.hold(),
                17 if self.manners == Manners::Wild => self.babble(),
                17 if self.dice.chance(30) => self.decide(cancel()),
                18 => self.meddle(),
                _ => self.deliver(),
            }
        }
    }

    /// From here on nothing goes wrong any more, and time passes, until nothing is left to happen.
    pub(super) fn heal(&mut self) {
        self.is_faulty = false;
        self.broken.store(0, Ordering::Relaxed);
        self.perform_new();
        for _ in 0..10_000 {
            if !self.bus.is_empty() {
                self.deliver();
                continue;
            }
            let Some(at) = self.live.wake_at(self.now, &Resend::DEFAULT) else {
                let status = self.live.status();
                assert!(status.is_ended() || status == Status::Parked, "it hangs: {:#?}", self.live);
                return;
            };
            self.now = self.now.max(at);
            self.wake(true);
        }
        panic!("it goes on for ever: {:#?}", self.live);
    }

    /// Operators bring every parked saga to an end: they try again, then say what each step is.
    pub(super) fn help(&mut self) {
        for _ in 0..3 {
            self.operate(Verb::Retry { step: None });
            self.heal();
            for step in self.live.definition().indices() {
                for resolution in [done(5), Resolution::NoEffect, Resolution::Undone] {
                    if self.live.status() == Status::Parked {
                        self.operate(Verb::Resolve { step, resolution });
                        self.heal();
                    }
                }
            }
        }
    }

    /// What is still on the bus arrives.
    pub(super) fn drain(&mut self) {
        while !self.bus.is_empty() {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        if self.bus.is_empty() {
            return;
        }
        let at = self.dice.below(self.bus.len());
        let packet = if self.is_faulty && self.dice.chance(20) {
            self.bus[at].clone()
        } else {
            self.bus.swap_remove(at)
        };
        match packet {
            Packet::Arrival(event) => self.decide(event),
            Packet::Command { step, action, round } => {
                let row = &mut self.rows[step.at()];
                if let Some(report) = row.answer(action, round, self.is_faulty, &mut self.dice) {
                    self.send(Packet::Arrival(Event::Reply { step, action, round, report }));
                }
            }
        }
    }

    fn send(&mut self, packet: Packet) {
        if !(self.is_faulty && self.dice.chance(15)) {
            self.bus.push(packet);
        }
    }

    fn let_time_pass(&mut self) {
        let seconds = [0, 1, 5, 11, 31, 100][self.dice.below(6)];
        self.now = self.now.after(Duration::from_secs(seconds));
        let deadlines = self.dice.chance(70);
        self.wake(deadlines);
    }

    fn wake(&mut self, deadlines: bool) {
        let deadlines_until = if deadlines { Timestamp::MAX } else { Timestamp::default() };
        self.decide(Event::Wake { deadlines_until });
        self.perform_new();
        for effect in self.live.owed() {
            self.perform(effect);
        }
    }

    fn crash(&mut self) {
        let definition = Arc::clone(self.live.definition());
        self.live = Instance::replay(definition, &self.record).unwrap();
        self.batch.clear();
        self.owed_before = self.live.owed();
        for effect in self.live.owed() {
            self.perform(effect);
        }
    }

    /// A reply or a cancel arrives at a coordinator that does not know the definition.
    fn hold(&mut self) {
        let input = match self.bus.pop() {
            Some(Packet::Arrival(Event::Reply { step, action, round, report })) => {
                let step = Arc::clone(self.live.definition().step_name(step));
                HeldInput::Reply { step, action, round, report }
            }
            Some(packet) => return self.bus.push(packet),
            None if self.dice.chance(20) => HeldInput::Cancel { who: "ann".into(), why: "because".into() },
            None => return,
        };
        let entry = Entry { at: self.now, fact: Fact::Held { input } };
        self.live.apply(&entry).unwrap();
        self.recorded(vec![entry]);
    }

    fn meddle(&mut self) {
        let step = StepIndex(self.dice.below(9) as u16);
        let verb = match self.dice.below(8) {
            0..=2 => Verb::Retry { step: None },
            3 => Verb::Retry { step: Some(step) },
            4 => Verb::Resolve { step, resolution: done(5) },
            5 => Verb::Resolve { step, resolution: Resolution::NoEffect },
            6 => Verb::Resolve { step, resolution: Resolution::Undone },
            _ if self.dice.chance(20) => Verb::Abandon,
            _ => return,
        };
        self.operate(verb);
    }

    fn operate(&mut self, verb: Verb) {
        self.decide(Event::Operate(Operation { verb, who: "ann".into(), why: "because".into() }));
        self.perform_new();
    }

    fn babble(&mut self) {
        let report = match self.dice.below(9) {
            0 => Report::Rejected { reason: "no".into() },
            1 => Report::Failed { reason: "no".into() },
            2 => Report::Succeeded { output: garbage() },
            3 => Report::Undone,
            4 => Report::UndoFailed { reason: "no".into() },
            5 => Report::Fenced { answer: FenceAnswer::NoEffect },
            6 => Report::Fenced { answer: FenceAnswer::Unknown },
            7 => Report::Fenced { answer: FenceAnswer::Done { output: garbage() } },
            _ => Report::Succeeded { output: Payload::from("5") },
        };
        let action = [Action::Execute, Action::Undo, Action::Fence][self.dice.below(3)];
        let step = StepIndex(self.dice.below(9) as u16);
        let round = self.dice.below(4) as u32;
        self.decide(Event::Reply { step, action, round, report });
    }

    fn decide(&mut self, event: Event) {
        let before = self.live.state.clone();
        match self.live.decide(event.clone(), self.now) {
            Ok(entries) => self.recorded(entries),
            Err(_) => {
                assert_eq!(self.live.state, before, "the impossible changes nothing");
                let is_honest_reply = self.manners == Manners::Honest && matches!(event, Event::Reply { .. });
                assert!(!is_honest_reply, "{event:?} is not impossible: {before:#?}");
            }
        }
        if matches!(event, Event::Reply { .. } | Event::Cancel { .. } | Event::Announced(_)) {
            let again = self.live.clone().decide(event.clone(), self.now).unwrap_or_default();
            assert_eq!(again, [], "the second {event:?}");
        }
        if self.dice.chance(60) {
            self.perform_new();
        }
    }

    fn recorded(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            self.shadow.apply(entry).unwrap();
            if let Fact::Resolved { step, resolution } = &entry.fact {
                self.rows[step.at()].declare(resolution);
            }
        }
        self.record.extend_from_slice(&entries);
        self.batch.extend(entries);
        self.check_state();
        self.check_record();
    }

    /// The coordinator performs what its decisions newly owe.
    fn perform_new(&mut self) {
        for effect in self.check_newly_owed() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Command { step, action, round } => self.send(Packet::Command { step, action, round }),
            Effect::Announce(announcement) => {
                let event = self.announced(announcement);
                self.send(Packet::Arrival(event));
            }
            Effect::Callback { not_before, .. } if not_before <= self.now => {
                let event = self.called_back();
                self.send(Packet::Arrival(event));
            }
            Effect::Callback { .. } => {}
        }
    }

    fn announced(&mut self, announcement: Announcement) -> Event {
        if self.is_faulty && self.dice.chance(10) {
            return Event::AnnouncementRefused { announcement, reason: "no such topic".into() };
        }
        Event::Announced(announcement)
    }

    fn called_back(&mut self) -> Event {
        match if self.is_faulty { self.dice.below(4) } else { 0 } {
            1 | 2 => Event::CallbackFailed { reason: "no answer".into() },
            3 => Event::CallbackRefused { reason: "gone".into() },
            _ => Event::CallbackAnswered,
        }
    }
}

fn cancel() -> Event {
    Event::Cancel { who: "ann".into(), why: "because".into() }
}
