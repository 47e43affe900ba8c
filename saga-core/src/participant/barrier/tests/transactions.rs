use super::*;

fn in_transactions() -> Bench {
    Bench { effects: Effects::InTransaction, ..bench() }
}

#[test]
fn an_attempt_that_was_rolled_back_is_no_reason_to_doubt_a_refusal() {
    let mut bench = in_transactions();
    let (token, ..) = bench.run(Action::Execute, 1);
    assert_eq!(bench.end(token, Performed::Again), Completed::Free);
    bench.now += 100;
    let (lost, ..) = bench.run(Action::Execute, 1);
    bench.now += 100;
    let (token, attempt, _) = bench.run(Action::Execute, 1);
    assert_eq!(attempt, 3);
    assert!(bench.row.is_held_by(token) && !bench.row.is_held_by(lost));
    let refused = Report::Rejected { reason: "sold out".into() };
    let answer = bench.end(token, Performed::Final(refused.clone()));
    assert_eq!(answer, Completed::Reply(refused.clone()));
    assert_eq!(bench.end(lost, Performed::Again), Completed::Reply(refused));
}

#[test]
fn an_undo_after_attempts_that_stored_nothing_has_nothing_to_undo() {
    let mut bench = in_transactions();
    let (late, ..) = bench.run(Action::Execute, 1);
    bench.now += 100;
    assert_eq!(bench.replies(Action::Undo, 1), Report::Undone);
    assert!(!bench.row.is_held_by(late), "its transaction cannot commit any more");
    assert!(
        matches!(bench.replies(Action::Execute, 1), Report::Rejected { .. }),
        "it will not happen any more"
    );
    assert_eq!(bench.end(late, Performed::Again), Completed::Overtaken, "it has left nothing to undo");
}

#[test]
fn one_attempt_outside_a_transaction_is_enough_to_doubt() {
    let mut bench = in_transactions();
    bench.effects = Effects::Anywhere;
    bench.run(Action::Execute, 1);
    bench.effects = Effects::InTransaction;
    bench.now += 100;
    let (token, ..) = bench.run(Action::Execute, 1);
    let answer = bench.end(token, Performed::Final(Report::Rejected { reason: "sold out".into() }));
    assert!(matches!(answer, Completed::Reply(Report::Failed { .. })), "{answer:?}");
}

#[test]
fn a_fence_after_attempts_that_stored_nothing_knows_of_no_effect() {
    let mut bench = in_transactions();
    bench.run(Action::Execute, 1);
    bench.now += 100;
    assert_eq!(bench.replies(Action::Fence, 1), Report::Fenced { answer: FenceAnswer::NoEffect });
}

#[test]
fn a_verdict_that_was_stored_with_its_effect_is_undone() {
    let mut bench = in_transactions();
    let (token, ..) = bench.run(Action::Execute, 1);
    let output = Payload::from("7");
    let done = Report::Succeeded { output: output.clone() };
    assert_eq!(bench.end(token, Performed::Final(done.clone())), Completed::Reply(done.clone()));
    assert_eq!(bench.end(token, Performed::Again), Completed::Reply(done), "told once more, it stays");
    assert_eq!(bench.run(Action::Undo, 1).2, Some(output));
}

#[test]
fn a_verdict_that_was_stored_with_its_effect_and_undone_is_not_undone_again_when_it_is_told_once_more() {
    let mut bench = in_transactions();
    let (token, ..) = bench.run(Action::Execute, 1);
    let _ = bench.end(token, Performed::Final(done(7)));
    let mut bench = bench.undid(1, Performed::Final(Report::Undone));
    assert_eq!(bench.end(token, Performed::Final(done(7))), Completed::Reply(done(7)));
}
