//! The tables.

use std::sync::Arc;

use crate::check::{explore, tell};
use crate::config::Config;
use crate::configs;
use crate::coverage::{Coverage, Sight};
use crate::laws::Law;
use crate::mutants::{MUTANTS, Seeded};

/// Explores the configurations, prints a table, and says whether all is well. `is_whole`: everything worth seeing must have been seen.
pub(crate) fn check(configs: &[Config], is_whole: bool) -> bool {
    let coverage = Arc::<Coverage>::default();
    println!("{:<18} {:>5} {:>10} {:>6} {:>8}  verdict", "configuration", "steps", "states", "depth", "seconds");
    let mut is_good = true;
    let mut total = 0;
    for config in configs {
        let explored = explore(config, None, &coverage);
        total += explored.states;
        let verdict = explored.found.as_ref().map_or("every law holds", |(law, _)| law.name());
        println!(
            "{:<18} {:>5} {:>10} {:>6} {:>8.1}  {verdict}",
            config.name,
            config.steps.len(),
            explored.states,
            explored.depth,
            explored.took.as_secs_f64()
        );
        if let Some((law, path)) = explored.found {
            is_good = false;
            println!("\nBROKEN in {}: {}\n{}", config.name, law.name(), tell(config, None, &path));
        }
    }
    println!("{total} states in all\n");
    seen(&coverage, is_whole) && is_good
}

fn seen(coverage: &Coverage, is_whole: bool) -> bool {
    let mut is_all = true;
    for (sight, what) in Sight::ALL {
        let times = coverage.of(sight);
        println!("{times:>12} × {what}");
        is_all &= times > 0;
    }
    if is_whole && !is_all {
        println!("\nWhat nobody has seen was not checked.");
    }
    is_all || !is_whole
}

/// Explores every mutant until a law catches it, prints who was caught by what, and says whether all were.
pub(crate) fn mutants() -> bool {
    println!("{:<24} {:<16} {:>9}  rule broken -> killed by", "mutant", "configuration", "states");
    let mut killers = Vec::new();
    let mut survivors = 0;
    for seeded in MUTANTS {
        match kill(seeded) {
            Some(law) => killers.push(law),
            None => survivors += 1,
        }
    }
    println!();
    for law in Law::ALL {
        let count = killers.iter().filter(|killer| **killer == law).count();
        let remark = if count == 0 { "   SUSPECT: no mutant breaks it" } else { "" };
        println!("{count:>4} killed by: {}{remark}", law.name());
    }
    println!("\n{} killed, {survivors} survived", killers.len());
    survivors == 0
}

fn kill(seeded: &Seeded) -> Option<Law> {
    let config = configs::named(seeded.config).expect("mutants name configurations that are there");
    let explored = explore(&config, Some(seeded.mutant), &Arc::default());
    let law = explored.found.map(|(law, _)| law);
    println!(
        "{:<24} {:<16} {:>9}  {} -> {}",
        format!("{:?}", seeded.mutant),
        seeded.config,
        explored.states,
        seeded.rule,
        law.map_or("SURVIVED", Law::name)
    );
    law
}
