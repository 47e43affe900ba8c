//! That the check itself works: it finds nothing in the code as it is, and finds what is broken on purpose.

use std::sync::Arc;

use crate::check::{explore, tell};
use crate::config::Config;
use crate::configs;
use crate::laws::Law;
use crate::mutants::Mutant;

fn config(name: &str) -> Config {
    configs::named(name).unwrap()
}

#[test]
fn every_law_holds_in_small_sagas() {
    for name in ["one", "callback", "pivot-cancel", "crash-commit"] {
        let explored = explore(&config(name), None, &Arc::default());
        assert_eq!(explored.found, None, "{name}");
        assert!(explored.states > 20, "{name}: only {} states", explored.states);
    }
}

#[test]
fn a_broken_rule_is_found_and_told() {
    let explored = explore(&config("one"), Some(Mutant::RowPerAction), &Arc::default());
    let (law, path) = explored.found.unwrap();
    assert_eq!(law, Law::NothingLeft);
    let told = tell(&config("one"), Some(Mutant::RowPerAction), &path);
    assert!(told.starts_with("  1. Start\n"), "{told}");
    assert!(told.contains(&format!("BROKEN: {}", law.name())), "{told}");
}

#[test]
fn what_the_design_presumes_is_needed() {
    for (name, law) in [("presumed-operator", Law::Pivot), ("presumed-undo", Law::NothingLeft)] {
        let (broken, _) = explore(&config(name), None, &Arc::default()).found.unwrap();
        assert_eq!(broken, law, "{name}");
    }
}

#[test]
fn like_steps_are_taken_for_one_another() {
    assert_eq!(config("parallel").classes(), [vec![0, 1, 2]]);
    assert_eq!(config("fan-in").classes(), [vec![0, 1], vec![2]]);
    assert_eq!(config("fan-out").classes(), [vec![0], vec![1, 2]]);
    assert_eq!(config("deadlines").classes(), [vec![0], vec![1]]);
}
