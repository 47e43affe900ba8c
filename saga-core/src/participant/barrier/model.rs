//! Every interleaving of a small world: a command to execute delivered twice, a command to undo delivered twice, claims that run out
//! under their claimants, crashes at any moment, and an outside world in which an effect is there or not.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::Row;
use crate::ports::{Claim, ClaimAnswer, ClaimToken, Completed, Effects, Known, Performed, Task};
use crate::record::{Action, Payload, Report, RunId, Timestamp};

const HOLD_MS: u64 = 1;

#[derive(Clone, PartialEq, Eq)]
struct World {
    row: Row,
    now: u64,
    /// Whether the effect is there, outside.
    effect: bool,
    workers: [Worker; 4],
    crashes_left: u8,
    again_left: u8,
    effects: Effects,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    action: Action,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum State {
    /// The delivery waits to be taken.
    Waiting,
    /// It has the row, and has not touched the outside yet.
    Running { token: ClaimToken, action: Action },
    /// The user's code has done its work; the barrier has not been told.
    Acted { token: ClaimToken, action: Action },
    /// The handler has committed its effect and its verdict together.
    Stored,
    /// Settled: it never comes again.
    Settled,
}

impl World {
    fn new(effects: Effects) -> Self {
        let worker = |action| Worker { action, state: State::Waiting };
        Self {
            row: Row::default(),
            now: 1,
            effect: false,
            workers: [Action::Execute, Action::Execute, Action::Undo, Action::Undo].map(worker),
            crashes_left: 1,
            again_left: 1,
            effects,
        }
    }

    /// The worlds that this one can become in one move.
    fn next(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        if self.now < 5 {
            worlds.push(Self { now: self.now + 1, ..self.clone() });
        }
        for i in 0..self.workers.len() {
            match self.workers[i].state {
                State::Waiting => worlds.push(self.claimed(i)),
                State::Running { token, action: Action::Execute }
                    if self.effects == Effects::InTransaction =>
                {
                    worlds.push(self.committed(i, token));
                    worlds.extend(self.rolled_back(i, token));
                    worlds.extend(self.crashed(i));
                }
                State::Running { token, action } => {
                    worlds.push(self.acted(i, token, action));
                    worlds.extend(self.crashed(i));
                }
                State::Stored => {
                    worlds.push(self.settled(i));
                    worlds.extend(self.crashed(i));
                }
                State::Acted { token, action } => {
                    worlds.push(self.completed(i, token, final_report(action)));
                    if self.again_left > 0 {
                        let fewer = Self { again_left: self.again_left - 1, ..self.clone() };
                        worlds.push(fewer.completed(i, token, Performed::Again));
                    }
                    worlds.extend(self.crashed(i));
                }
                State::Settled => {}
            }
        }
        worlds
    }

    fn claimed(&self, i: usize) -> Self {
        let mut world = self.clone();
        let claim = Claim {
            task: Task { run: RunId::from_u128(1), step: "pay".into() },
            action: self.workers[i].action,
            round: 1,
            known: Known::Unknown,
            dispatched_at: Timestamp::from_millis(1),
            hold: Duration::from_millis(HOLD_MS),
            effects: self.effects,
        };
        let before = &self.row;
        let answer = world.row.claim(&claim, Timestamp::from_millis(1), world.time());
        world.workers[i].state = match answer {
            ClaimAnswer::Run { token, action, .. } => {
                if action == Action::Execute {
                    assert!(before.verdict.is_none(), "executed although a verdict was stored: {before:?}");
                    assert!(before.seal.is_none(), "executed although sealed: {before:?}");
                } else if self.effects == Effects::InTransaction {
                    assert!(before.verdict.is_some(), "undone although nothing had happened: {before:?}");
                }
                State::Running { token, action }
            }
            ClaimAnswer::Busy { .. } => State::Waiting,
            ClaimAnswer::Reply(_) => State::Settled,
            ClaimAnswer::Stale => panic!("there is one round only"),
        };
        world
    }

    fn acted(&self, i: usize, token: ClaimToken, action: Action) -> Self {
        let mut world = self.clone();
        world.effect = action == Action::Execute;
        world.workers[i].state = State::Acted { token, action };
        world
    }

    /// The handler's transaction commits, if its claim still has the row; otherwise it cannot, and has no effect.
    fn committed(&self, i: usize, token: ClaimToken) -> Self {
        if !self.row.is_held_by(token) {
            return self.completed(i, token, Performed::Again);
        }
        let mut world = self.clone();
        world.effect = true;
        let answer = world.row.complete(token, final_report(Action::Execute), world.time());
        assert!(matches!(answer, Completed::Reply(Report::Succeeded { .. })), "{answer:?}");
        world.workers[i].state = State::Stored;
        world
    }

    /// The handler's transaction is rolled back.
    fn rolled_back(&self, i: usize, token: ClaimToken) -> Option<Self> {
        let again_left = self.again_left.checked_sub(1)?;
        Some(Self { again_left, ..self.clone() }.completed(i, token, Performed::Again))
    }

    fn settled(&self, i: usize) -> Self {
        let mut world = self.clone();
        world.workers[i].state = State::Settled;
        world
    }

    fn completed(&self, i: usize, token: ClaimToken, performed: Performed) -> Self {
        let mut world = self.clone();
        let again = performed == Performed::Again;
        world.workers[i].state = match world.row.complete(token, performed, world.time()) {
            Completed::UndoAgain { token, .. } => State::Running { token, action: Action::Undo },
            Completed::Free => State::Waiting,
            // The shell gives every delivery of a failed attempt back, whatever the barrier makes of it.
            Completed::Overtaken if again => State::Waiting,
            Completed::Overtaken | Completed::Reply(_) => State::Settled,
        };
        world
    }

    /// The claimant is gone; its delivery comes again.
    fn crashed(&self, i: usize) -> Option<Self> {
        let crashes_left = self.crashes_left.checked_sub(1)?;
        let mut world = Self { crashes_left, ..self.clone() };
        world.workers[i].state = State::Waiting;
        Some(world)
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn is_over(&self) -> bool {
        self.workers.iter().all(|worker| worker.state == State::Settled)
    }
}

/// Worlds are told apart by equality; this only has to spread them.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.now, self.effect, self.workers, self.row.tokens, self.row.is_undone()).hash(state);
    }
}

fn final_report(action: Action) -> Performed {
    Performed::Final(match action {
        Action::Execute => Report::Succeeded { output: Payload::from("1") },
        Action::Undo => Report::Undone,
        Action::Fence => unreachable!("a fence runs nothing"),
    })
}

#[test]
fn when_everything_is_settled_no_effect_remains() {
    explore(Effects::Anywhere);
}

#[test]
fn the_same_in_transactions_where_only_what_happened_is_undone() {
    explore(Effects::InTransaction);
}

fn explore(effects: Effects) {
    let mut seen = HashSet::from([World::new(effects)]);
    let mut open = vec![World::new(effects)];
    let mut over = 0;
    while let Some(world) = open.pop() {
        if world.is_over() {
            over += 1;
            assert!(world.row.is_undone(), "settled, but not undone: {:?}", world.row);
            assert!(!world.effect, "undone, but the effect remains: {:?}", world.row);
        }
        for mut next in world.next() {
            // Deliveries of one command are alike: worlds that differ in which is which are one.
            next.workers.sort_unstable();
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }

    assert!(over > 100, "only {over} ends");
}
