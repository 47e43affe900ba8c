//! The frozen plan: what is in it, in which order, and what it is told.

use super::*;
use crate::machine::StepState;
use crate::record::{Announcement, Ending, PlanItem};
use crate::wire::Known;

fn plan_of(play: &Play) -> Vec<String> {
    let name = |item: &PlanItem| format!("{} {}", item.action, play.saga.definition().step_name(item.step));
    let plans = play.record.iter().filter_map(|entry| match &entry.fact {
        Fact::Unwinding { plan } => Some(plan.iter().map(name).collect()),
        _ => None,
    });
    plans.last().unwrap()
}

/// `a`, then `b` and `c`, then `d` with both.
fn diamond(saga: &mut SagaBuilder<u64>) {
    let a = saga.step(&A, |n| *n);
    let b = saga.step_after(&a, &B, |_, a| a);
    let c = saga.step_after(&a, &C, |_, a| a);
    saga.step_after((&b, &c), &D, |_, (b, c)| b + c);
    saga.announce(Announcement::Unwinding, "news", |n, ended| (*n, ended.ending == Ending::RolledBack));
}

/// A diamond of which all but `d` is done.
fn nearly_done() -> Play {
    let mut play = Play::of(diamond);
    play.succeeds("a", 1);
    play.succeeds("b", 2);
    play.succeeds("c", 3);
    play
}

#[test]
fn the_plan_is_reverse_topological_with_ties_by_declaration() {
    let mut play = nearly_done();
    play.fails("d");
    assert_eq!(plan_of(&play), ["undo d", "undo b", "undo c", "undo a"]);
}

#[test]
fn unwinding_is_announced_when_it_begins() {
    let mut play = nearly_done();
    play.fails("d");
    play.owes(["undo d", "announce unwinding"]);
    play.event(Event::Announced(Announcement::Unwinding)).unwrap();
    assert_eq!(play.event(Event::Announced(Announcement::Unwinding)), Ok(vec![]));
    play.owes(["undo d"]);
}

#[test]
fn dependents_are_undone_first_and_independent_steps_in_parallel() {
    let mut play = nearly_done();
    play.fails("d");
    play.event(Event::Announced(Announcement::Unwinding)).unwrap();
    play.undone("d");
    play.owes(["undo b", "undo c"]);
    play.undone("c");
    play.owes(["undo b"]);
    play.undone("b");
    play.owes(["undo a"]);
    play.undone("a");
    play.is(Status::RolledBack);
}

#[test]
fn steps_that_are_not_in_the_plan_are_passed_through() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let note = saga.step_after(&a, &NOTE, |_, a| a);
        let b = saga.step_after(&note, &B, |_, note| note);
        saga.step_after(&b, &C, |_, b| b);
    });
    play.succeeds("a", 1);
    play.succeeds("note", 1);
    play.succeeds("b", 1);
    play.rejects("c");
    assert_eq!(plan_of(&play), ["undo b", "undo a"]);
    play.owes(["undo b"]);
    play.undone("b");
    play.owes(["undo a"]);
}

#[test]
fn a_late_success_changes_only_what_the_undo_is_told() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let b = saga.step(&B, |n| *n);
        saga.step_after((&a, &b), &C, |_, (a, _)| a);
        saga.deadline(Duration::from_secs(1));
    });
    play.succeeds("b", 1);
    play.wakes_after(1);
    play.owes(["undo a", "undo b"]);
    let plan = plan_of(&play);
    assert_eq!(play.saga.known(play.index("a")), Known::Unknown);
    assert_eq!(play.succeeds("a", 9).len(), 1);
    assert_eq!(play.saga.known(play.index("a")), Known::Succeeded(Some(Payload::from("9"))));
    play.owes(["undo a", "undo b"]);
    assert_eq!(plan_of(&play), plan);
    assert_eq!(play.count(|fact| matches!(fact, Fact::Dispatched { .. })), 2, "c never is");
}

#[test]
fn other_late_verdicts_and_a_success_after_the_undo_change_nothing() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.step(&B, |n| *n);
        saga.deadline(Duration::from_secs(1));
    });
    play.wakes_after(1);
    assert_eq!(play.rejects("a"), []);
    assert_eq!(play.fails("a"), []);
    assert_eq!(play.garbles("a"), []);
    play.undone("a");
    assert_eq!(play.succeeds("a", 1), [], "its effect is gone");
    play.owes(["undo b"]);
}

/// `mail` and `a` side by side; the saga is cut off by its deadline before `mail` has answered.
fn mail_in_doubt() -> Play {
    let mut play = Play::of(|saga| {
        saga.step(&MAIL, |n| *n);
        saga.step(&A, |n| *n);
        saga.deadline(Duration::from_secs(1));
    });
    play.rejects("a");
    play.wakes_after(1);
    play
}

#[test]
fn a_no_undo_step_in_doubt_is_fenced() {
    let mut play = mail_in_doubt();
    play.owes(["fence mail"]);
    assert_eq!(play.saga.view().steps[0].state, StepState::Fencing);
    play.is(Status::Unwinding);
    play.fenced("mail", FenceAnswer::NoEffect);
    play.is(Status::RolledBack);
    assert_eq!(play.saga.view().steps[0].state, StepState::Undone);
}

#[test]
fn what_a_fenced_no_undo_step_has_done_remains_and_is_shown() {
    for (answer, shown) in [(found_done(5), StepState::Done), (FenceAnswer::Unknown, StepState::Unanswered)] {
        let mut play = mail_in_doubt();
        play.fenced("mail", answer);
        play.is(Status::RolledBack);
        assert_eq!(play.saga.view().steps[0].state, shown);
    }
}

#[test]
fn a_no_undo_step_that_is_done_is_left_alone() {
    let mut play = Play::of(|saga| {
        saga.step(&MAIL, |n| *n);
        saga.step(&A, |n| *n);
    });
    play.succeeds("mail", 1);
    play.rejects("a");
    assert_eq!(plan_of(&play), [""; 0]);
    play.is(Status::RolledBack);
}
