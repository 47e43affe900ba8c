use super::*;
use Action::{Execute, Fence, Undo};
use Performed::{Again, Final};

#[test]
fn a_live_claim_makes_everyone_else_wait_for_the_rest_of_it() {
    for first in [Execute, Undo] {
        let mut bench = bench().executed(1, Again);
        let _ = bench.run(first, 1);
        bench.now += 3;
        for action in [Execute, Undo, Fence] {
            let before = bench.row.clone();
            let busy = ClaimAnswer::Busy { retry_after: Duration::from_millis(7) };
            assert_eq!(bench.claim(action, 9), busy);
            assert_eq!(bench.row, before, "a claim that must wait leaves no trace");
        }
    }
}

#[test]
fn a_row_is_held_until_its_claim_is_completed_or_its_time_is_up() {
    let mut bench = bench();
    let at = Timestamp::from_millis;
    assert_eq!((bench.row.held_until(), bench.row.is_held(at(1_000))), (None, false));
    let (token, ..) = bench.run(Execute, 1);
    assert_eq!(bench.row.held_until(), Some(at(1_010)));
    assert_eq!(
        [1_000, 1_009, 1_010, 1_011].map(|now| bench.row.is_held(at(now))),
        [true, true, false, false]
    );
    let _ = bench.end(token, Again);
    assert_eq!((bench.row.held_until(), bench.row.is_held(at(1_000))), (None, false));
}

#[test]
fn executing_again_replays_the_stored_verdict() {
    for report in [done(1), rejected(), failed()] {
        let mut bench = bench().executed(1, Final(report.clone()));
        assert_eq!(bench.replies(Execute, 1), report);
    }
}

#[test]
fn a_success_is_final_for_all_rounds() {
    let mut bench = bench().executed(2, Final(done(1)));
    assert_eq!(bench.replies(Execute, 1), done(1));
    assert_eq!(bench.replies(Execute, 3), done(1));
}

#[test]
fn a_failure_is_final_for_its_round_only() {
    for report in [rejected(), failed()] {
        let mut bench = bench().executed(1, Final(report));
        assert_eq!(bench.run(Execute, 2).1, 1);
    }
}

#[test]
fn a_command_of_an_older_round_is_stale() {
    let mut bench = bench().executed(2, Final(failed()));
    assert_eq!(bench.claim(Execute, 1), ClaimAnswer::Stale);
    assert_eq!(bench.claim(Undo, 1), ClaimAnswer::Stale);
    assert_eq!(bench.claim(Fence, 1), ClaimAnswer::Stale);
}

#[test]
fn attempts_are_counted_by_action_and_round() {
    let mut bench = bench().executed(1, Again).executed(1, Again);
    assert_eq!(bench.run(Execute, 1).1, 3);
    bench.later();
    assert_eq!(bench.run(Execute, 2).1, 1, "another round");
    bench.later();
    assert_eq!(bench.run(Undo, 2).1, 1, "another action");
    bench.later();
    assert_eq!(bench.run(Undo, 2).1, 2, "a crashed attempt counts");
}

#[test]
fn a_rejection_after_an_attempt_that_may_have_had_an_effect_is_a_failure() {
    let retried = bench().executed(1, Again);
    let mut crashed = bench();
    let _ = crashed.run(Execute, 1);
    crashed.later();
    let failed_before = bench().executed(1, Final(failed()));
    let mut perhaps_pruned = bench();
    perhaps_pruned.dispatched_at = HORIZON - 1;
    for (mut bench, round) in [(retried, 1), (crashed, 1), (failed_before, 2), (perhaps_pruned, 1)] {
        let (token, ..) = bench.run(Execute, round);
        let Completed::Reply(Report::Failed { reason }) = bench.end(token, Final(rejected())) else {
            panic!("{:?}", bench.row)
        };
        assert!(reason.ends_with(": no"), "{reason}");
    }
}

#[test]
fn a_rejection_of_every_attempt_stays_one() {
    let mut bench = bench().executed(1, Final(rejected()));
    let (token, ..) = bench.run(Execute, 2);
    assert_eq!(bench.end(token, Final(rejected())), Completed::Reply(rejected()));
}

#[test]
fn a_claim_whose_time_is_up_is_completed_if_nobody_took_the_row() {
    let mut bench = bench();
    let (token, ..) = bench.run(Execute, 1);
    bench.later();
    assert_eq!(bench.end(token, Final(rejected())), Completed::Reply(rejected()));
}

#[test]
fn the_first_verdict_stored_wins() {
    let mut bench = bench();
    let (first, ..) = bench.run(Execute, 1);
    bench.later();
    let (second, ..) = bench.run(Execute, 1);
    assert_eq!(bench.end(first, Final(done(1))), Completed::Overtaken, "the other will answer");
    assert_eq!(bench.end(second, Final(done(2))), Completed::Reply(done(2)));
    assert_eq!(bench.end(first, Final(failed())), Completed::Reply(done(2)));
}

#[test]
fn a_success_that_comes_late_is_stored_when_nobody_is_at_it() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let mut bench = bench.executed(1, Again);
    assert_eq!(bench.end(late, Final(done(1))), Completed::Reply(done(1)));
    assert_eq!(bench.replies(Execute, 1), done(1));
}

#[test]
fn a_step_that_was_undone_is_not_executed() {
    let mut undone = bench();
    assert_eq!(undone.replies(Undo, 1), Report::Undone);
    assert!(matches!(undone.replies(Execute, 1), Report::Rejected { .. }));
    assert!(matches!(undone.replies(Execute, 2), Report::Rejected { .. }), "nor in another round");
    let mut undoing = bench().executed(1, Final(done(1))).undid(1, Again);
    assert_eq!(undoing.replies(Execute, 1), done(1));
}

#[test]
fn what_was_sealed_after_an_unknown_attempt_is_not_called_rejected() {
    let attempted = bench().executed(1, Again).undid(1, Again);
    let heard_of = Bench { known: Known::Failed, ..bench() }.undid(1, Again);
    let mut unproven = bench();
    unproven.known = Known::Failed;
    let _ = unproven.replies(Fence, 1);
    let mut lost = bench();
    lost.known = Known::Succeeded(output(1));
    let _ = lost.replies(Fence, 1);
    for mut bench in [attempted, heard_of, unproven, lost] {
        assert!(matches!(bench.replies(Execute, 1), Report::Failed { .. }));
    }
}
