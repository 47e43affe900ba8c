//! The configurations that are explored exhaustively. Their budgets are small on purpose: what goes wrong with two faults goes wrong with
//! these.

use std::time::Duration;

use saga_core::Kind;

use crate::config::{Config, Fault, Handlers, Shape};
use Fault::{
    Abandon, Again, CallbackFail, Cancel, Crash, Expire, Fail, GiveUp, Haste, Hold, Leap, Lose, Prune,
    Refuse, Resolve, Retry, Stale, UndoFail,
};
use Handlers::{Claimed, Keyed, Transactional};

const fn step(kind: Kind, after: &'static [usize]) -> Shape {
    Shape { kind, after, deadline: None }
}

const fn undoable(after: &'static [usize]) -> Shape {
    step(Kind::Compensatable, after)
}

const fn pivot(after: &'static [usize]) -> Shape {
    step(Kind::Pivot, after)
}

const fn retriable(after: &'static [usize]) -> Shape {
    step(Kind::Retriable, after)
}

const fn no_undo(after: &'static [usize]) -> Shape {
    step(Kind::NoUndo, after)
}

impl Shape {
    /// Shorter than a leap.
    const fn soon(self) -> Self {
        Self { deadline: Some(Duration::from_secs(10)), ..self }
    }

    /// Longer than a leap, shorter than two.
    const fn later(self) -> Self {
        Self { deadline: Some(Duration::from_secs(90)), ..self }
    }
}

/// Those with the most states; the quick check leaves them out.
const LONG: [&str; 5] = ["parallel", "operators-pivot", "claims-one", "claims-parallel", "claims-no-undo"];

/// The quick check: a minute's worth, in which everything worth seeing is seen.
pub(crate) fn quick() -> Vec<Config> {
    of_steps(3).into_iter().filter(|config| !LONG.contains(&config.name)).collect()
}

/// All configurations of at most so many steps.
pub(crate) fn of_steps(max: usize) -> Vec<Config> {
    let all = [shapes(), doubts(), people(), claims(), bound(), wide()].concat();
    all.into_iter().filter(|config| config.steps.len() <= max).collect()
}

/// The configuration of this name.
pub(crate) fn named(name: &str) -> Option<Config> {
    [of_steps(usize::MAX), presumed()].concat().into_iter().find(|config| config.name == name)
}

/// What happens where something that the design presumes is not so. The laws do not hold there; explored only by name.
fn presumed() -> Vec<Config> {
    vec![
        Config::new(
            "presumed-operator",
            Transactional,
            vec![undoable(&[]), pivot(&[0]).soon()],
            &[(Leap, 1), (Resolve, 1), (Haste, 1)],
        ),
        Config::new("presumed-undo", Keyed, vec![undoable(&[])], &[(Expire, 1), (Cancel, 1), (GiveUp, 1)]),
    ]
}

/// Refusals, failures, failing undos and a cancel, in every shape of three steps.
fn shapes() -> Vec<Config> {
    let faults = [(Refuse, 2), (Fail, 2), (Again, 1), (UndoFail, 2), (Cancel, 1), (Leap, 1), (Retry, 1)];
    let config = |name, steps| Config::new(name, Transactional, steps, &faults);
    vec![
        config("one", vec![undoable(&[])]),
        config("parallel", vec![undoable(&[]), undoable(&[]), undoable(&[])]).patient(),
        config("chain", vec![undoable(&[]), undoable(&[0]), undoable(&[1])]),
        config("fan-in", vec![undoable(&[]), undoable(&[]), undoable(&[0, 1])]).patient(),
        config("fan-out", vec![undoable(&[]), undoable(&[0]), undoable(&[0])]),
    ]
}

/// Silence, deadlines racing replies, pivots and no-undo steps in doubt.
fn doubts() -> Vec<Config> {
    let config = |name, steps, faults: &[_]| Config::new(name, Transactional, steps, faults);
    vec![
        config(
            "pivot",
            vec![undoable(&[]), pivot(&[0]).soon(), retriable(&[1])],
            &[(Refuse, 1), (Fail, 1), (Again, 1), (Cancel, 1), (Leap, 1), (Lose, 1), (Resolve, 1)],
        ),
        config(
            "overdue",
            vec![undoable(&[]), pivot(&[0]), retriable(&[1])],
            &[(Refuse, 1), (Fail, 1), (Cancel, 1), (Leap, 1), (Lose, 1), (Retry, 1)],
        )
        .overdue_soon(),
        config(
            "no-undo",
            vec![undoable(&[]), no_undo(&[]).soon(), undoable(&[1])],
            &[(Refuse, 1), (Fail, 1), (Again, 1), (Cancel, 1), (Leap, 1), (Lose, 1)],
        ),
        config(
            "deadlines",
            vec![undoable(&[]).soon(), undoable(&[]).later()],
            &[(Refuse, 1), (Cancel, 1), (Leap, 2), (Lose, 1)],
        )
        .patient(),
        config(
            "deadline-after",
            vec![undoable(&[]), undoable(&[0]).soon(), undoable(&[0])],
            &[(Fail, 1), (Leap, 1), (Lose, 1), (UndoFail, 1)],
        )
        .patient(),
    ]
}

/// Operators, stale coordinators, coordinators without the definition, callbacks.
fn people() -> Vec<Config> {
    let config = |name, steps, faults: &[_]| Config::new(name, Transactional, steps, faults);
    vec![
        config(
            "operators",
            vec![undoable(&[]), undoable(&[0])],
            &[(Fail, 1), (UndoFail, 2), (Cancel, 1), (Retry, 2), (Resolve, 1), (Abandon, 1)],
        ),
        config(
            "operators-pivot",
            vec![undoable(&[]), pivot(&[0]).soon(), retriable(&[1])],
            &[(Fail, 1), (Refuse, 1), (Leap, 1), (Retry, 1), (Resolve, 2), (Abandon, 1)],
        ),
        config(
            "stale",
            vec![undoable(&[]), undoable(&[0]), undoable(&[])],
            &[(Stale, 1), (Fail, 1), (UndoFail, 1), (Cancel, 1), (Retry, 1)],
        ),
        config(
            "held",
            vec![undoable(&[]), undoable(&[]), no_undo(&[0])],
            &[(Hold, 2), (Refuse, 1), (Fail, 1), (Cancel, 1)],
        ),
        config(
            "callback",
            vec![undoable(&[])],
            &[(CallbackFail, 3), (Refuse, 1), (Cancel, 1), (Abandon, 1), (Retry, 1)],
        )
        .with_callback(),
        config(
            "pivot-cancel",
            vec![undoable(&[]), pivot(&[0])],
            &[(Cancel, 1), (Fail, 1), (Refuse, 1), (Again, 1), (Retry, 1)],
        ),
        config("crash-commit", vec![undoable(&[]), undoable(&[])], &[(Crash, 1), (Refuse, 1)]),
        config(
            "pruned",
            vec![undoable(&[]), undoable(&[0])],
            &[(Prune, 2), (Fail, 1), (Again, 1), (Cancel, 1), (UndoFail, 2), (Retry, 1)],
        ),
    ]
}

/// Effects outside the barrier's transaction, crashes, and claims that run out under their claimants.
fn claims() -> Vec<Config> {
    let config = |name, steps, faults: &[_]| Config::new(name, Keyed, steps, faults);
    vec![
        config(
            "claims-one",
            vec![undoable(&[])],
            &[(Crash, 2), (Expire, 2), (Again, 1), (Fail, 1), (Refuse, 1), (UndoFail, 1), (Cancel, 1)],
        ),
        config(
            "claims-chain",
            vec![undoable(&[]), undoable(&[0])],
            &[(Crash, 1), (Expire, 1), (Again, 1), (Refuse, 1), (Fail, 1), (Cancel, 1)],
        ),
        config(
            "claims-parallel",
            vec![undoable(&[]), undoable(&[]), undoable(&[])],
            &[(Crash, 1), (Expire, 1), (Fail, 1)],
        ),
        config(
            "claims-pivot",
            vec![undoable(&[]), pivot(&[0]).soon()],
            &[(Crash, 1), (Expire, 1), (Fail, 1), (Refuse, 1), (Leap, 1)],
        ),
        config(
            "claims-no-undo",
            vec![no_undo(&[]).soon(), undoable(&[])],
            &[(Crash, 1), (Expire, 1), (Fail, 1), (Leap, 1)],
        ),
    ]
}

/// The same, with the effect in a transaction of the row that begins after the claim is stored.
fn bound() -> Vec<Config> {
    let config = |name, steps, faults: &[_]| Config::new(name, Claimed, steps, faults);
    vec![
        config(
            "bound-one",
            vec![undoable(&[])],
            &[(Crash, 2), (Expire, 2), (Again, 1), (Fail, 1), (Refuse, 1), (UndoFail, 1), (Cancel, 1)],
        ),
        config(
            "bound-chain",
            vec![undoable(&[]), undoable(&[0])],
            &[(Crash, 1), (Expire, 1), (Again, 1), (Refuse, 1), (Fail, 1), (Cancel, 1)],
        ),
        config(
            "bound-pivot",
            vec![undoable(&[]), pivot(&[0]).soon()],
            &[(Crash, 1), (Expire, 1), (Fail, 1), (Refuse, 1), (Leap, 1)],
        ),
        config(
            "bound-no-undo",
            vec![no_undo(&[]).soon(), undoable(&[])],
            &[(Crash, 1), (Expire, 1), (Fail, 1), (Leap, 1)],
        ),
    ]
}

/// Four steps.
fn wide() -> Vec<Config> {
    let config = |name, steps, faults: &[_]| Config::new(name, Transactional, steps, faults);
    vec![
        config(
            "parallel-4",
            vec![undoable(&[]), undoable(&[]), undoable(&[]), undoable(&[])],
            &[(Refuse, 2), (Fail, 1), (UndoFail, 1), (Cancel, 1), (Leap, 1)],
        )
        .patient(),
        config(
            "diamond-4",
            vec![undoable(&[]), undoable(&[0]), undoable(&[0]), undoable(&[1, 2])],
            &[(Refuse, 1), (Fail, 1), (UndoFail, 2), (Cancel, 1), (Retry, 1)],
        ),
        config(
            "pivot-4",
            vec![undoable(&[]), undoable(&[]), pivot(&[0, 1]).soon(), retriable(&[2])],
            &[(Refuse, 1), (Fail, 1), (Cancel, 1), (Leap, 1)],
        ),
        Config::new(
            "claims-4",
            Keyed,
            vec![undoable(&[]), undoable(&[]), undoable(&[]), undoable(&[])],
            &[(Crash, 1), (Expire, 1), (Refuse, 1)],
        ),
    ]
}
