use super::*;
use Action::{Execute, Undo};
use Performed::{Again, Final};

#[test]
fn undoing_what_provably_never_ran_runs_no_code() {
    assert_eq!(bench().replies(Undo, 1), Report::Undone);
}

#[test]
fn undoing_runs_code_when_absence_proves_nothing() {
    let mut pruned = bench();
    pruned.dispatched_at = HORIZON - 1;
    assert_eq!(pruned.run(Undo, 1).2, None);
    let mut heard_of = bench();
    heard_of.known = Known::Failed;
    assert_eq!(heard_of.run(Undo, 1).2, None);
    let mut succeeded = bench();
    succeeded.known = Known::Succeeded(output(7));
    assert_eq!(succeeded.run(Undo, 1).2, output(7));
}

#[test]
fn undoing_a_clean_rejection_runs_no_code() {
    let mut bench = bench().executed(1, Final(rejected()));
    assert_eq!(bench.replies(Undo, 1), Report::Undone);
    assert_eq!(bench.replies(Execute, 1), rejected());
}

#[test]
fn undoing_a_success_is_given_the_stored_output() {
    let mut bench = bench().executed(1, Final(done(1)));
    bench.known = Known::Succeeded(output(7));
    assert_eq!(bench.run(Undo, 1).2, output(1));
}

#[test]
fn undoing_a_failure_is_given_what_is_known() {
    let mut crashed = bench();
    let _ = crashed.run(Execute, 1);
    crashed.later();
    assert_eq!(crashed.run(Undo, 1).2, None);
    let mut bench = bench().executed(1, Final(failed()));
    assert_eq!(bench.run(Undo, 1).2, None);
    bench.later();
    bench.known = Known::Succeeded(output(7));
    assert_eq!(bench.run(Undo, 1).2, output(7));
}

#[test]
fn undoing_again_replays_in_every_round() {
    let mut bench = bench().executed(1, Final(done(1))).undid(2, Final(Report::Undone));
    for round in 1..4 {
        assert_eq!(bench.replies(Undo, round), Report::Undone);
    }
}

#[test]
fn a_failed_undo_is_replayed_in_its_round_and_repeated_in_the_next() {
    let mut bench = bench().executed(1, Final(done(1))).undid(1, Final(undo_failed()));
    assert_eq!(bench.replies(Undo, 1), undo_failed());
    assert_eq!(bench.run(Undo, 2).1, 1);
}

#[test]
fn an_execution_that_comes_back_after_the_undo_is_undone_again() {
    for (performed, told) in [(Final(done(3)), output(3)), (Final(failed()), None), (Again, None)] {
        let mut bench = bench();
        let (late, ..) = bench.run(Execute, 1);
        bench.later();
        let mut bench = bench.undid(1, Final(Report::Undone));
        let Completed::UndoAgain { token, attempt: 1, output } = bench.end(late, performed) else {
            panic!("{:?}", bench.row)
        };
        assert_eq!(output, told);
        assert!(matches!(bench.claim(Undo, 1), ClaimAnswer::Busy { .. }));
        assert_eq!(bench.end(token, Final(Report::Undone)), Completed::Reply(Report::Undone));
    }
}

#[test]
fn an_execution_that_comes_back_after_another_success_was_undone_is_undone_again() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let mut bench = bench.executed(1, Final(done(2))).undid(1, Final(Report::Undone));
    let again = bench.end(late, Final(done(1)));
    assert!(matches!(again, Completed::UndoAgain { .. }), "its effect may be later than the undo: {again:?}");
}

#[test]
fn a_refusal_that_comes_back_during_the_undo_is_no_reason_to_run_it_again() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let (undo, ..) = bench.run(Undo, 1);
    assert_eq!(bench.end(late, Final(rejected())), Completed::Overtaken);
    assert_eq!(bench.end(undo, Final(Report::Undone)), Completed::Reply(Report::Undone));
}

#[test]
fn a_refusal_that_comes_back_after_the_undo_is_not_undone_again() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let mut bench = bench.undid(1, Final(Report::Undone));
    assert_eq!(bench.end(late, Final(rejected())), Completed::Overtaken);
}

#[test]
fn an_execution_that_comes_back_during_the_undo_has_it_run_again() {
    for expired in [false, true] {
        let mut bench = bench();
        let (late, ..) = bench.run(Execute, 1);
        bench.later();
        let (undo, ..) = bench.run(Undo, 1);
        if expired {
            bench.later();
        }
        assert_eq!(bench.end(late, Final(done(3))), Completed::Reply(done(3)));
        let again = bench.end(undo, Final(Report::Undone));
        let Completed::UndoAgain { token, output, .. } = again else { panic!("{again:?}") };
        assert_eq!(output, Some(Payload::from("3")));
        assert_eq!(bench.end(token, Final(Report::Undone)), Completed::Reply(Report::Undone));
    }
}

#[test]
fn an_undo_that_began_after_the_execution_came_back_is_enough() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let (undo, ..) = bench.run(Undo, 1);
    let _ = bench.end(late, Again);
    bench.later();
    let (next, ..) = bench.run(Undo, 1);
    assert_eq!(bench.end(undo, Final(Report::Undone)), Completed::Overtaken);
    assert_eq!(bench.end(next, Final(Report::Undone)), Completed::Reply(Report::Undone));
}

#[test]
fn a_command_to_execute_that_is_delivered_again_after_its_row_was_overtaken_and_undone_undoes_again() {
    let mut bench = bench();
    let _crashes_after_its_late_effect = bench.run(Execute, 1);
    bench.later();
    let mut bench = bench.undid(3, Final(Report::Undone));
    for _ in 0..2 {
        let ClaimAnswer::Run { token, action: Undo, attempt, .. } = bench.claim(Execute, 1) else {
            panic!("{:?}", bench.row)
        };
        assert_eq!(attempt, 1);
        assert_eq!(bench.end(token, Final(Report::Undone)), Completed::Reply(Report::Undone));
    }
}

#[test]
fn a_command_to_execute_that_meets_an_undo_out_of_time_has_it_run_again() {
    let mut bench = bench();
    let _crashes_after_its_late_effect = bench.run(Execute, 1);
    bench.later();
    let (undo, ..) = bench.run(Undo, 1);
    bench.later();
    assert!(matches!(bench.replies(Execute, 1), Report::Failed { .. }));
    assert!(matches!(bench.end(undo, Final(Report::Undone)), Completed::UndoAgain { .. }));
}

#[test]
fn a_command_to_execute_that_meets_an_undo_out_of_time_is_no_reason_to_run_it_again_where_nothing_was_overtaken()
 {
    let mut bench = bench().executed(1, Final(done(1)));
    let (undo, ..) = bench.run(Undo, 1);
    bench.later();
    assert_eq!(bench.replies(Execute, 1), done(1));
    assert_eq!(bench.end(undo, Final(Report::Undone)), Completed::Reply(Report::Undone));
}
