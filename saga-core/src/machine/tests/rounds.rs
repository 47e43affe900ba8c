//! Undoing in rounds: what is final, what is ignored, what is stuck.

use super::*;

/// `a` before `b`, and `c` beside them; all done but the failing `d`, which nothing waits for.
fn unwinding() -> Play {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let b = saga.step_after(&a, &B, |_, a| a);
        let c = saga.step(&C, |n| *n);
        saga.step_after((&b, &c), &D, |_, (b, _)| b);
    });
    play.succeeds("a", 1);
    play.succeeds("b", 1);
    play.succeeds("c", 1);
    play.rejects("d");
    play.owes(["undo b", "undo c"]);
    play
}

#[test]
fn a_failed_undo_is_stuck_and_the_others_go_on() {
    let mut play = unwinding();
    play.undo_fails("c");
    play.is(Status::Unwinding);
    play.undone("b");
    play.owes(["undo a"]);
    play.undone("a");
    play.is(Status::Parked);
    play.owes(NOTHING);
    assert_eq!(play.saga.parked().unwrap().to_string(), "undo of c: cannot undo");
}

#[test]
fn what_waits_for_a_stuck_step_is_not_undone() {
    let mut play = unwinding();
    play.undo_fails("b");
    play.undone("c");
    play.is(Status::Parked);
    play.owes(NOTHING);
}

#[test]
fn a_retry_begins_a_new_round_and_older_replies_are_ignored() {
    let mut play = unwinding();
    play.undone("c");
    play.undo_fails("b");
    play.retries(None).unwrap();
    play.is(Status::Unwinding);
    play.owes(["undo b in round 2"]);
    assert_eq!(play.reply("b", Action::Undo, 1, undo_failed()), Ok(vec![]));
    assert_eq!(play.reply("b", Action::Undo, 1, Report::Undone), Ok(vec![]), "round 2 answers it again");
    play.owes(["undo b in round 2"]);
    play.undone("b");
    play.undone("a");
    play.is(Status::RolledBack);
}

#[test]
fn a_success_of_an_undo_is_final() {
    let mut play = unwinding();
    play.undone("b");
    assert_eq!(play.undo_fails("b"), []);
    play.owes(["undo a", "undo c"]);
}

#[test]
fn an_undo_of_a_spent_round_can_still_succeed() {
    let mut play = unwinding();
    play.undo_fails("b");
    play.undone("b");
    play.owes(["undo a", "undo c"]);
}

#[test]
fn a_retry_of_one_step_leaves_the_others_stuck() {
    let mut play = unwinding();
    play.undo_fails("b");
    play.undo_fails("c");
    play.is(Status::Parked);
    play.retries(Some("c")).unwrap();
    play.owes(["undo c in round 2"]);
    play.undo_fails("c");
    play.is(Status::Parked);
    play.retries(None).unwrap();
    play.owes(["undo b in round 2", "undo c in round 3"]);
}

#[test]
fn only_what_is_stuck_can_be_retried() {
    let mut play = unwinding();
    assert_eq!(not_allowed(play.retries(None)), "nothing of this saga is stuck");
    play.undo_fails("c");
    assert_eq!(not_allowed(play.retries(Some("b"))), "step b is not stuck");
    let unknown = Verb::Retry { step: Some(StepIndex(9)) };
    assert_eq!(not_allowed(play.operates(unknown)), "there is no step number 9");
}

#[test]
fn a_success_of_the_execution_late_in_a_stuck_undo_is_told_to_the_next_round() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.deadline(Duration::from_secs(1));
    });
    play.wakes_after(1);
    play.undo_fails("a");
    assert_eq!(play.succeeds("a", 8).len(), 1, "it is not parked anew");
    play.is(Status::Parked);
    play.retries(None).unwrap();
    assert_eq!(play.saga.known(play.index("a")), crate::wire::Known::Succeeded(Some(Payload::from("8"))));
}
