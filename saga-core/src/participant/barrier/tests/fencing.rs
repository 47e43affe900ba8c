use super::*;
use Action::{Execute, Fence, Undo};
use Performed::{Again, Final};

#[test]
fn a_fence_tells_what_is_known() {
    let known = |known| Bench { known, ..bench() };
    let mut crashed = bench();
    let _ = crashed.run(Execute, 1);
    crashed.later();
    let done_1 = FenceAnswer::Done { output: Payload::from("1") };
    for (mut bench, answer) in [
        (bench(), FenceAnswer::NoEffect),
        (Bench { dispatched_at: HORIZON - 1, ..bench() }, FenceAnswer::Unknown),
        (known(Known::Failed), FenceAnswer::Unknown),
        (known(Known::Succeeded(None)), FenceAnswer::Unknown),
        (known(Known::Succeeded(output(1))), done_1.clone()),
        (bench().executed(1, Final(done(1))), done_1),
        (bench().executed(1, Final(rejected())), FenceAnswer::NoEffect),
        (bench().executed(1, Final(failed())), FenceAnswer::Unknown),
        (bench().executed(1, Again), FenceAnswer::Unknown),
        (crashed, FenceAnswer::Unknown),
        (bench().executed(1, Final(done(1))).undid(1, Final(Report::Undone)), FenceAnswer::NoEffect),
        (bench().executed(1, Final(done(1))).undid(1, Final(undo_failed())), FenceAnswer::Unknown),
        (bench().executed(1, Final(done(1))).undid(1, Again), FenceAnswer::Unknown),
    ] {
        assert_eq!(bench.replies(Fence, 2), fenced(answer), "{:?}", bench.row);
    }
}

#[test]
fn a_fence_is_answered_the_same_in_its_round() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    assert_eq!(bench.replies(Fence, 1), fenced(FenceAnswer::Unknown));
    assert_eq!(bench.end(late, Final(done(1))), Completed::Reply(done(1)));
    assert_eq!(bench.replies(Fence, 1), fenced(FenceAnswer::Unknown));
    assert_eq!(bench.replies(Fence, 2), fenced(FenceAnswer::Done { output: Payload::from("1") }));
}

#[test]
fn what_was_fenced_before_it_ran_is_called_rejected() {
    let mut bench = bench();
    assert_eq!(bench.replies(Fence, 1), fenced(FenceAnswer::NoEffect));
    assert!(matches!(bench.replies(Execute, 1), Report::Rejected { .. }));
}

#[test]
fn nothing_runs_after_a_fence_but_an_operators_retry() {
    let mut bench = bench().executed(1, Again);
    let _ = bench.replies(Fence, 2);
    assert_eq!(bench.claim(Execute, 1), ClaimAnswer::Stale);
    assert_eq!(bench.claim(Undo, 1), ClaimAnswer::Stale);
    assert_eq!(bench.claim(Undo, 2), ClaimAnswer::Stale);
    assert!(matches!(bench.replies(Execute, 2), Report::Failed { .. }));
    let before = bench.row.clone();
    let _ = bench.run(Execute, 3);
    bench.row = before;
    let _ = bench.run(Undo, 3);
}

#[test]
fn an_execution_overtaken_by_a_fence_is_not_undone_by_itself() {
    let mut bench = bench();
    let (late, ..) = bench.run(Execute, 1);
    bench.later();
    let _ = bench.replies(Fence, 2);
    assert_eq!(bench.end(late, Again), Completed::Overtaken);
}
