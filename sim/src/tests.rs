use crate::laws::Law;
use crate::mutants::Mutant;
use crate::plan::{Plan, draw};
use crate::run::run;
use crate::shrink::{only, shrink};
use crate::trace::Wanted;

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut digests = Vec::new();
    for seed in 0..10 {
        let first = run(&draw(seed), None, Wanted::Lines);
        let second = run(&draw(seed), None, Wanted::Lines);
        assert_eq!(first.lines, second.lines, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert!(first.lines.len() > 100, "seed {seed}: {} lines", first.lines.len());
        digests.push(first.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 10, "different seeds, different traces");
}

#[test]
fn who_watches_changes_nothing() {
    for seed in 10..15 {
        let watched = run(&draw(seed), None, Wanted::Lines);
        let alone = run(&draw(seed), None, Wanted::Nothing);
        assert_eq!(watched.took, alone.took, "seed {seed}");
        assert_eq!(watched.coverage.table(), alone.coverage.table(), "seed {seed}");
    }
}

#[test]
fn a_failure_is_shrunk_to_what_it_needs() {
    let broken = |seed: &u64| run(&draw(*seed), Some(Mutant::NoTakeOver), Wanted::Nothing).broken;
    // Of fewer sagas all may be needed, and shrinking more takes long.
    let is_handy = |seed: &u64| (3..=4).contains(&draw(*seed).loads.len());
    let size = |plan: &Plan| (plan.loads.len(), plan.faults.len());
    // Of some all sagas are needed, since they fill the room that there is.
    let mut tried = (0..500).filter(is_handy).filter(|seed| broken(seed).is_some()).take(5).map(|seed| {
        let plan = draw(seed);
        let shrunk = shrink(&plan, Some(Mutant::NoTakeOver), Law::Ends);
        (plan, shrunk)
    });
    let (plan, shrunk) = tried
        .find(|(plan, shrunk)| size(&shrunk.plan).0 < size(plan).0 && size(&shrunk.plan).1 < size(plan).1)
        .expect("nobody takes over, and of five failures one has sagas and faults to spare");
    let again = only(&plan, &shrunk.only).expect("what is shown can be read");
    let broken = run(&again, Some(Mutant::NoTakeOver), Wanted::Nothing).broken.expect("it still breaks");
    assert_eq!(broken.law, Law::Ends);
    assert!(run(&again, None, Wanted::Nothing).broken.is_none(), "the rule holds, and so does the law");
}
