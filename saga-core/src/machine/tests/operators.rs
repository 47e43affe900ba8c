//! `resolve`, `abandon`, and the retry of a step whose input could not be computed.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::definition::FailurePolicy;
use crate::machine::StepState;
use crate::record::{HeldInput, NamedVerb};

/// A saga whose undo of `a` is stuck; `b`, which comes before it, waits.
fn stuck() -> Play {
    let mut play = Play::of(|saga| {
        let b = saga.step(&B, |n| *n);
        let a = saga.step_after(&b, &A, |_, b| b);
        saga.step_after(&a, &C, |_, a| a);
    });
    play.succeeds("b", 1);
    play.succeeds("a", 1);
    play.rejects("c");
    play.undo_fails("a");
    play.is(Status::Parked);
    play
}

#[test]
fn resolving_seals_first_and_takes_effect_when_the_seal_is_answered() {
    let mut play = stuck();
    play.resolves("a", Resolution::Undone).unwrap();
    play.is(Status::Unwinding);
    play.owes(["fence a in round 2"]);
    assert_eq!(play.saga.view().steps[1].state, StepState::Resolving);
    assert_eq!(play.reply("a", Action::Undo, 1, undo_failed()), Ok(vec![]));
    play.owes(["fence a in round 2"]);
    play.fenced("a", FenceAnswer::Unknown);
    play.owes(["undo b"]);
    play.undone("b");
    play.is(Status::RolledBack);
}

#[test]
fn a_second_resolution_takes_the_place_of_the_first() {
    let mut play = paying();
    play.fails("pay");
    play.succeeds("mail", 1);
    play.resolves("pay", Resolution::NoEffect).unwrap();
    play.resolves("pay", done(3)).unwrap();
    play.owes(["fence pay in round 3"]);
    assert_eq!(
        play.reply("pay", Action::Fence, 2, Report::Fenced { answer: FenceAnswer::Unknown }),
        Ok(vec![])
    );
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["execute ship"]);
}

#[test]
fn a_verdict_cannot_overtake_a_resolution() {
    let mut play = paying();
    play.wakes_after(30);
    play.succeeds("mail", 1);
    play.fenced("pay", FenceAnswer::Unknown);
    play.resolves("pay", Resolution::NoEffect).unwrap();
    assert_eq!(play.succeeds("pay", 1), []);
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["undo a"]);
}

#[test]
fn what_is_being_resolved_is_not_retried() {
    let mut play = stuck();
    play.resolves("a", Resolution::Undone).unwrap();
    not_allowed(play.retries(None));
    not_allowed(play.retries(Some("a")));
    let mut play = paying();
    play.fails("pay");
    play.resolves("pay", done(1)).unwrap();
    not_allowed(play.retries(Some("pay")));
}

#[test]
fn a_pivot_resolved_as_without_effect_turns_the_saga_back() {
    let mut play = paying();
    play.fails("pay");
    play.succeeds("mail", 1);
    play.resolves("pay", Resolution::NoEffect).unwrap();
    play.owes(["fence pay in round 2"]);
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["undo a"]);
}

#[test]
fn a_pivot_in_doubt_can_be_resolved_as_done() {
    let mut play = paying();
    play.wakes_after(30);
    play.succeeds("mail", 1);
    play.resolves("pay", done(3)).unwrap();
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["execute ship"]);
}

#[test]
fn a_resolution_to_go_forward_with_is_void_once_the_saga_turns_back() {
    let mut play = Play::of(|saga| {
        let mail = saga.step(&MAIL, |n| *n);
        saga.configure(&mail).deadline(Duration::from_secs(1));
        saga.step(&PAY, |n| *n);
        saga.on_first_failure(FailurePolicy::FailFast);
    });
    play.wakes_after(1);
    play.resolves("mail", done(1)).unwrap();
    play.owes(["fence mail in round 2", "execute pay"]);
    play.rejects("pay");
    play.is(Status::Unwinding);
    play.owes(["fence mail in round 2"]);
    play.fenced("mail", FenceAnswer::NoEffect);
    play.is(Status::RolledBack);
}

/// Its pivot is being resolved so, which no operator is allowed while it is in flight: only a record that was tampered with says it.
fn wrongly_resolving(resolution: Resolution) -> Play {
    let mut play = paying();
    play.succeeds("mail", 1);
    play.stored(Fact::Resolving { step: play.index("pay"), round: 2, resolution });
    play
}

#[test]
fn a_step_that_is_done_by_its_record_stays_done_whatever_it_was_resolved_as() {
    for resolution in [done(3), Resolution::NoEffect] {
        let mut play = wrongly_resolving(resolution);
        play.stored(Fact::Succeeded { step: play.index("pay"), output: Payload::from("4") });
        play.fenced("pay", FenceAnswer::Unknown);
        play.owes(["execute ship"]);
        assert_eq!(play.input_of("ship"), 4);
    }
}

#[test]
fn a_step_in_flight_that_its_record_resolves_as_without_effect_is_not_waited_for() {
    let mut play = wrongly_resolving(Resolution::NoEffect);
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["undo a"]);
}

#[test]
fn a_resolution_must_fit_the_step() {
    let mut play = stuck();
    not_allowed(play.resolves("a", Resolution::NoEffect));
    assert_eq!(
        not_allowed(play.resolves("a", done(1))),
        "a compensatable step that is being undone cannot be resolved like that"
    );
    assert_eq!(not_allowed(play.resolves("b", Resolution::Undone)), "step b is not waiting for a decision");
    not_allowed(play.operates(Verb::Resolve { step: StepIndex(9), resolution: Resolution::Undone }));
    let mut play = paying();
    not_allowed(play.resolves("pay", done(1)));
    play.fails("pay");
    not_allowed(play.resolves("pay", Resolution::Undone));
    not_allowed(play.resolves("pay", Resolution::Done { output: garbage() }));
    play.fails("mail");
    assert_eq!(
        not_allowed(play.resolves("mail", Resolution::NoEffect)),
        "a no-undo step that is going forward cannot be resolved like that"
    );
    play.owes(NOTHING);
}

#[test]
fn abandoning_ends_the_saga_as_it_stands() {
    let mut play = stuck();
    play.operates(Verb::Abandon).unwrap();
    play.is(Status::Abandoned);
    play.owes(NOTHING);
    assert_eq!(play.undone("a"), [], "what comes after the end");
    not_allowed(play.operates(Verb::Abandon));
    assert_eq!(play.wake_in(), None);
}

#[test]
fn nothing_is_sealed_any_more_once_the_saga_is_abandoned() {
    let mut play = stuck();
    play.resolves("a", Resolution::Undone).unwrap();
    play.operates(Verb::Abandon).unwrap();
    play.owes(NOTHING);
    assert_eq!(play.fenced("a", FenceAnswer::Unknown), []);
}

fn held(verb: NamedVerb) -> HeldInput {
    HeldInput::Operate { verb, who: "ann".into(), why: "because".into() }
}

#[test]
fn what_is_held_of_operators_is_done_at_the_next_wake_or_its_refusal_recorded() {
    let mut play = stuck();
    for step in ["b", "gone", "a"] {
        play.hold(held(NamedVerb::Retry { step: Some(step.into()) }));
    }
    let facts = play.event(NO_DEADLINES).unwrap();
    let refusals = facts.iter().filter_map(|fact| match fact {
        Fact::OperationRefused { reason, .. } => Some(&**reason),
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), ["step b is not stuck", "there is no step gone"]);
    play.owes(["undo a in round 2"]);
    play.undo_fails("a");
    play.hold(held(NamedVerb::Resolve { step: "a".into(), resolution: Resolution::Undone }));
    play.wakes_after(0);
    play.owes(["fence a in round 3"]);
    play.hold(held(NamedVerb::Abandon));
    play.wakes_after(0);
    play.is(Status::Abandoned);
}

#[test]
fn who_acted_and_why_is_recorded() {
    let mut play = stuck();
    let facts = play.retries(Some("a")).unwrap();
    let Fact::Operated { operation } = &facts[0] else { panic!("{facts:?}") };
    assert_eq!((&*operation.who, &*operation.why), ("ann", "because"));
}

/// A saga whose step `b`, after `a`, has an input closure that panics until it is mended.
fn broken() -> (Play, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(true));
    let looked_at = Arc::clone(&is_broken);
    let play = Play::of(move |saga| {
        let a = saga.step(&A, |n| *n);
        saga.step_after(&a, &B, move |_, a| {
            // Unlike `panic!`, this prints nothing.
            if looked_at.load(Ordering::Relaxed) { resume_unwind(Box::new("no such product")) } else { a }
        });
    });
    (play, is_broken)
}

#[test]
fn a_panicking_input_closure_parks_and_a_retry_computes_it_again() {
    let (mut play, is_broken) = broken();
    play.succeeds("a", 6);
    play.is(Status::Parked);
    assert!(play.saga.parked().unwrap().contains("panicked: no such product"), "{:?}", play.saga.parked());
    play.owes(NOTHING);
    play.retries(None).unwrap();
    play.is(Status::Parked);
    is_broken.store(false, Ordering::Relaxed);
    play.retries(Some("b")).unwrap();
    play.owes(["execute b in round 2"]);
    assert_eq!(play.input_of("b"), 6);
}

#[test]
fn a_saga_with_a_blocked_step_can_be_cancelled_and_not_resolved() {
    let (mut play, _) = broken();
    play.succeeds("a", 6);
    not_allowed(play.resolves("b", done(1)));
    play.cancels();
    play.owes(["undo a"]);
}
