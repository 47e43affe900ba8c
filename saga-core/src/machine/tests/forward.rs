//! Going forward: fan-out, fan-in, the first failure, cancelling, deadlines.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::definition::FailurePolicy;
use crate::record::{Cause, HeldInput};

/// `a` and `b`, then `c` with both.
fn joined(saga: &mut SagaBuilder<u64>) {
    let a = saga.step(&A, |n| *n);
    let b = saga.step(&B, |n| n + 1);
    saga.step_after((&a, &b), &C, |n, (a, b)| n * 100 + a * 10 + b);
}

/// `a` and `b` side by side, and `c` after `a`.
fn forked(policy: FailurePolicy) -> Play {
    Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        saga.step(&B, |n| *n);
        saga.step_after(&a, &C, |_, a| a);
        saga.on_first_failure(policy).deadline(Duration::from_secs(3_600));
    })
}

/// The same saga, started in a trace and with this input.
fn started(play: &Play, input: &'static str) -> Instance {
    let (definition, run) = (Arc::clone(play.saga.definition()), RunId::from_u128(2));
    Instance::start(definition, run, input.into(), Some("00-1-2-01".into()), play.now).0
}

#[test]
fn how_a_saga_was_started_is_kept() {
    let play = Play::of(joined);
    let saga = started(&play, "9");
    assert_eq!((saga.run(), saga.started_at()), (RunId::from_u128(2), play.now));
    assert_eq!((saga.input(), saga.traceparent().map(|text| &**text)), (&"9".into(), Some("00-1-2-01")));
    assert_eq!(play.saga.traceparent(), None);
    assert_eq!(saga.version(), 3, "started, and two dispatches");
}

#[test]
fn a_start_with_another_input_is_told_from_a_repeated_one() {
    let play = Play::of(joined);
    assert_eq!(started(&play, "7").input_digest(), play.saga.input_digest());
    assert_ne!(started(&play, "8").input_digest(), play.saga.input_digest());
}

#[test]
fn steps_without_dependencies_fan_out_at_once() {
    let play = Play::of(joined);
    play.owes(["execute a", "execute b"]);
    assert_eq!((play.input_of("a"), play.input_of("b")), (7, 8));
    assert_eq!(play.record.len(), 3, "started, and two dispatches");
}

#[test]
fn a_step_starts_when_all_it_waits_for_are_done_with_their_outputs() {
    let mut play = Play::of(joined);
    play.succeeds("b", 2);
    play.owes(["execute a"]);
    play.succeeds("a", 1);
    play.owes(["execute c"]);
    assert_eq!(play.input_of("c"), 712);
}

#[test]
fn completed_when_all_are_done() {
    let mut play = Play::of(joined);
    play.succeeds("a", 1);
    play.succeeds("b", 2);
    play.is(Status::Running);
    play.succeeds("c", 3);
    play.is(Status::Completed);
    play.owes(NOTHING);
    assert_eq!(play.saga.output(play.index("c")), Some(&Payload::from("3")));
}

#[test]
fn what_the_input_closure_returned_is_kept_for_every_resend() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let mut play = Play::of(|saga| {
        saga.step(&A, move |_| counted.fetch_add(1, Ordering::Relaxed));
    });
    play.wakes_after(60);
    play.owes(["execute a"]);
    assert_eq!((play.input_of("a"), calls.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn fail_fast_unwinds_at_once() {
    let mut play = forked(FailurePolicy::FailFast);
    play.fails("a");
    play.is(Status::Unwinding);
    play.owes(["undo a", "undo b"]);
}

#[test]
fn grace_waits_so_long_for_those_in_flight() {
    let mut play = forked(FailurePolicy::Grace(Duration::from_secs(10)));
    play.rejects("a");
    play.owes(["execute b"]);
    play.wakes_after(9);
    play.is(Status::Running);
    play.wakes_after(1);
    play.owes(["undo b"]);
}

#[test]
fn grace_ends_when_all_have_answered() {
    let mut play = forked(FailurePolicy::Grace(Duration::from_secs(10)));
    play.rejects("a");
    play.succeeds("b", 1);
    play.owes(["undo b"]);
}

#[test]
fn wait_all_waits_until_they_answer() {
    let mut play = forked(FailurePolicy::WaitAll);
    play.rejects("a");
    play.wakes_after(3_000);
    play.owes(["execute b"]);
    play.succeeds("b", 1);
    play.owes(["undo b"]);
}

#[test]
fn the_saga_deadline_ends_the_wait_for_all() {
    let mut play = forked(FailurePolicy::WaitAll);
    play.rejects("a");
    play.wakes_after(3_600);
    play.owes(["undo b"]);
    assert!(matches!(play.saga.cause(), Some(Cause::Rejected { .. })), "the first cause stays");
}

#[test]
fn no_step_is_dispatched_after_the_first_failure() {
    let mut play = forked(FailurePolicy::WaitAll);
    play.fails("b");
    play.succeeds("a", 1);
    assert_eq!(play.count(|fact| matches!(fact, Fact::Dispatched { .. })), 2, "c is not");
    play.owes(["undo a", "undo b"]);
}

#[test]
fn a_step_that_does_not_answer_in_time_fails_the_saga() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        saga.configure(&a).deadline(Duration::from_secs(5));
    });
    play.wakes_after(4);
    play.owes(["execute a"]);
    play.wakes_after(1);
    play.owes(["undo a"]);
    assert_eq!(play.saga.cause(), Some(&Cause::StepDeadline { step: play.index("a") }));
}

#[test]
fn the_saga_deadline_unwinds_without_grace() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.deadline(Duration::from_secs(5));
    });
    play.wakes_after(5);
    play.owes(["undo a"]);
    assert_eq!(play.saga.cause(), Some(&Cause::SagaDeadline));
}

#[test]
fn no_deadline_fires_when_the_wake_does_not_allow_it() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        saga.configure(&a).deadline(Duration::from_secs(5));
        saga.deadline(Duration::from_secs(5));
    });
    play.now = play.now.after(Duration::from_secs(60));
    assert_eq!(play.event(NO_DEADLINES), Ok(vec![]));
    play.succeeds("a", 1);
    play.is(Status::Completed);
}

#[test]
fn cancelling_undoes_what_was_done() {
    let mut play = Play::of(joined);
    play.succeeds("a", 1);
    play.cancels();
    assert_eq!(play.cancels(), [], "a second cancel");
    assert!(matches!(play.saga.cause(), Some(Cause::Cancelled { .. })));
    play.rejects("b");
    play.owes(["undo a"]);
    play.undone("a");
    play.is(Status::RolledBack);
    assert_eq!(play.cancels(), [], "a cancel after the end");
}

#[test]
fn held_inputs_are_taken_at_the_next_wake_in_their_order() {
    let mut play = Play::of(joined);
    for (step, report) in
        [("a", succeeded(1)), ("b", succeeded(2)), ("gone", rejected()), ("c", succeeded(3))]
    {
        let (action, round) = (Action::Execute, 1);
        play.hold(HeldInput::Reply { step: step.into(), action, round, report });
    }
    play.hold(HeldInput::Cancel { who: "ann".into(), why: "too late".into() });
    assert_eq!(play.wake_in(), Some(Duration::ZERO));
    play.event(NO_DEADLINES).unwrap();
    play.is(Status::Completed);
    assert_eq!(play.count(|fact| matches!(fact, Fact::HeldTaken)), 5);
    assert_eq!(play.wakes_after(1), []);
}

#[test]
fn a_held_cancel_cancels() {
    let mut play = Play::of(joined);
    play.hold(HeldInput::Cancel { who: "ann".into(), why: "because".into() });
    play.wakes_after(0);
    assert!(matches!(play.saga.cause(), Some(Cause::Cancelled { .. })));
}

#[test]
fn a_record_of_another_definition_is_corrupt() {
    let play = Play::of(joined);
    let other = forked(FailurePolicy::FailFast);
    let error = Instance::replay(Arc::clone(other.saga.definition()), &play.record).unwrap_err();
    assert_eq!(error.position, 0);
    let twice: Vec<_> = play.record.iter().chain(&play.record[1..2]).collect();
    let error = Instance::replay(Arc::clone(play.saga.definition()), twice).unwrap_err();
    assert_eq!(error.position, 3, "{error}");
}

#[test]
fn a_step_that_its_record_dispatched_out_of_turn_is_not_dispatched_again() {
    let play = Play::of(joined);
    let record = [play.record[0].clone(), play.record[2].clone()];
    let mut saga = Instance::replay(Arc::clone(play.saga.definition()), &record).unwrap();
    assert_eq!(saga.owed().len(), 1, "b is sent");
    assert_eq!(saga.decide(NO_DEADLINES, play.now), Ok(vec![play.record[1].clone()]), "only a is missing");
    assert_eq!(saga.owed(), play.saga.owed());
}

#[test]
fn a_record_that_dispatches_a_step_before_what_it_waits_for_is_corrupt() {
    let mut play = Play::of(joined);
    play.succeeds("a", 1);
    play.succeeds("b", 1);
    let dispatched_c = play.record.last().unwrap().clone();
    let record: Vec<_> = play.record[..2].iter().chain([&dispatched_c]).collect();
    let error = Instance::replay(Arc::clone(play.saga.definition()), record).unwrap_err();
    assert!(error.problem.contains("before all it waits for"), "{error}");
}

#[test]
fn a_record_that_fails_again_while_it_unwinds_is_corrupt() {
    let mut play = Play::of(joined);
    play.succeeds("a", 1);
    play.rejects("b");
    assert_eq!(play.saga.status(), Status::Unwinding);
    let again = play.record.iter().find(|entry| matches!(entry.fact, Fact::Failing { .. })).cloned();
    let record: Vec<_> = play.record.iter().chain(&again).collect();
    let error = Instance::replay(Arc::clone(play.saga.definition()), record).unwrap_err();
    assert!(error.problem.ends_with("a saga that unwinds"), "{error}");
}

#[test]
fn a_record_that_unwinds_twice_is_corrupt() {
    let mut play = Play::of(joined);
    play.succeeds("a", 1);
    play.rejects("b");
    let mut record = play.record.clone();
    record.extend(record.iter().find(|entry| matches!(entry.fact, Fact::Unwinding { .. })).cloned());
    Instance::replay(Arc::clone(play.saga.definition()), &record).unwrap_err();
}
