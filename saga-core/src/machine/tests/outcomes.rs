//! What a participant's answer means.

use super::*;
use crate::definition::FailurePolicy;
use crate::machine::StepState;
use crate::wire::Known;

/// `a`, then `b`.
fn chain() -> Play {
    Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        saga.step_after(&a, &B, |_, a| a);
    })
}

#[test]
fn a_rejected_step_is_not_undone() {
    let mut play = chain();
    play.succeeds("a", 1);
    play.rejects("b");
    play.owes(["undo a"]);
}

#[test]
fn a_saga_whose_only_step_is_rejected_is_rolled_back_at_once() {
    let mut play = chain();
    play.rejects("a");
    play.is(Status::RolledBack);
}

#[test]
fn a_failed_step_is_undone_without_an_output() {
    let mut play = chain();
    play.succeeds("a", 1);
    play.fails("b");
    play.owes(["undo b"]);
    assert_eq!(play.saga.known(play.index("b")), Known::Failed);
    assert_eq!(play.saga.known(play.index("a")), Known::Succeeded(Some(Payload::from("1"))));
}

#[test]
fn a_step_without_an_answer_is_undone_without_an_output() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.deadline(Duration::from_secs(1));
    });
    play.wakes_after(1);
    play.owes(["undo a"]);
    assert_eq!(play.saga.known(play.index("a")), Known::Unknown);
}

#[test]
fn a_success_that_cannot_be_decoded_is_a_failure_that_keeps_the_raw_output() {
    let mut play = chain();
    let facts = play.garbles("a");
    let Fact::Failed { reason, raw: Some(raw), .. } = &facts[0] else { panic!("{facts:?}") };
    assert!(reason.starts_with("it succeeded with an output that cannot be decoded: "), "{reason}");
    assert_eq!(*raw, garbage());
    play.owes(["undo a"]);
    assert_eq!(play.saga.known(play.index("a")), Known::Failed);
}

#[test]
fn a_success_of_the_pivot_that_cannot_be_decoded_parks() {
    let mut play = paying();
    play.succeeds("mail", 1);
    play.garbles("pay");
    play.is(Status::Parked);
    play.owes(NOTHING);
    play.resolves("pay", done(5)).unwrap();
    play.fenced("pay", FenceAnswer::Done { output: garbage() });
    play.owes(["execute ship"]);
    assert_eq!(play.input_of("ship"), 5, "the operator's output");
}

#[test]
fn a_success_after_the_pivot_that_cannot_be_decoded_parks() {
    let mut play = paying();
    play.succeeds("mail", 1);
    play.succeeds("pay", 1);
    play.garbles("ship");
    play.is(Status::Parked);
}

#[test]
fn what_comes_late_within_the_grace_still_counts() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let b = saga.step(&B, |n| *n);
        saga.step(&C, |n| *n);
        saga.configure(&a).deadline(Duration::from_secs(1));
        saga.configure(&b).deadline(Duration::from_secs(1));
        saga.on_first_failure(FailurePolicy::Grace(Duration::from_secs(60)));
    });
    play.wakes_after(1);
    play.owes(["execute c"]);
    play.rejects("a");
    play.succeeds("b", 5);
    play.rejects("c");
    play.owes(["undo b"]);
    assert_eq!(play.saga.known(play.index("b")), Known::Succeeded(Some(Payload::from("5"))));
}

#[test]
fn the_first_verdict_wins() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.step(&B, |n| *n);
    });
    play.succeeds("a", 1);
    for report in [succeeded(2), rejected(), failed()] {
        assert_eq!(play.says("a", Action::Execute, report), []);
    }
    assert_eq!(play.saga.output(play.index("a")), Some(&Payload::from("1")));
    play.is(Status::Running);
}

#[test]
fn a_reply_to_what_was_never_sent_is_impossible() {
    let mut play = chain();
    for (step, action, round, report) in [
        ("b", Action::Execute, 1, succeeded(1)),
        ("a", Action::Execute, 2, succeeded(1)),
        ("a", Action::Undo, 1, Report::Undone),
        ("a", Action::Fence, 1, Report::Fenced { answer: FenceAnswer::NoEffect }),
    ] {
        let impossible = play.reply(step, action, round, report).unwrap_err();
        let named = matches!(&impossible, Impossible::NotSent { step: named, .. } if **named == *step);
        assert!(named, "{impossible}");
    }
    let unknown = Event::Reply { step: StepIndex(2), action: Action::Execute, round: 1, report: failed() };
    assert!(matches!(play.event(unknown), Err(Impossible::NotSent { .. })));
}

#[test]
fn an_undo_that_is_only_planned_was_never_sent() {
    let mut play = chain();
    play.succeeds("a", 1);
    play.fails("b");
    assert!(matches!(play.reply("a", Action::Undo, 1, Report::Undone), Err(Impossible::NotSent { .. })));
}

#[test]
fn a_reply_must_answer_what_was_asked() {
    let mut play = chain();
    play.succeeds("a", 1);
    play.fails("b");
    for (action, report) in [
        (Action::Execute, Report::Undone),
        (Action::Undo, succeeded(1)),
        (Action::Undo, Report::Fenced { answer: FenceAnswer::NoEffect }),
    ] {
        assert!(matches!(play.reply("b", action, 1, report), Err(Impossible::NoAnswer { .. })));
    }
    play.owes(["undo b"]);
}

#[test]
fn people_are_shown_how_far_each_step_is() {
    let mut play = chain();
    play.succeeds("a", 1);
    play.fails("b");
    let view = play.saga.view();
    assert_eq!(view.status, Status::Unwinding);
    assert_eq!([&view.steps[0].state, &view.steps[1].state], [&StepState::UndoPlanned, &StepState::Undoing]);
    assert_eq!(view.steps[0].output, Some(Payload::from("1")));
    assert_eq!([view.steps[0].silent_since, view.steps[1].silent_since], [None, Some(play.now)]);
    play.undone("b");
    assert_eq!(play.saga.view().steps[1].state, StepState::Undone);
}
