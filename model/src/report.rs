//! The tables.

use std::sync::Arc;
use std::time::Instant;

use crate::check::{broken_by, explore, tell};
use crate::config::Config;
use crate::configs;
use crate::coverage::{Coverage, Sight};
use crate::laws::Law;
use crate::mutants::{MUTANTS, Seeded};

/// Explores the configurations, prints a table, and says whether all is well. `is_whole`: everything worth seeing must have been seen.
pub(crate) fn check(configs: &[Config], is_whole: bool) -> bool {
    let begun = Instant::now();
    let coverage = Arc::<Coverage>::default();
    println!(
        "{:<18} {:>5} {:>10} {:>6} {:>8}  verdict",
        "configuration", "steps", "states", "depth", "seconds"
    );
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
    println!("{total} states in all, in {:.1} s\n", begun.elapsed().as_secs_f64());
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

/// How many moves of a mutant are looked at for further laws that it breaks.
const MOVES_MAX: usize = 100_000;

/// Explores every mutant until a law catches it, prints who was caught by what, and says whether all were. `cargo xtask mutants` reads the
/// lines that begin with `VERDICT`.
pub(crate) fn mutants() -> bool {
    let mut killers = Vec::new();
    let mut survivors = 0;
    for seeded in MUTANTS {
        let laws = kill(seeded);
        survivors += u32::from(laws.is_empty());
        killers.extend(laws);
    }
    println!("\nHow many mutants break each law:");
    for law in Law::ALL {
        let count = killers.iter().filter(|killer| **killer == law).count();
        let remark = match (count, law) {
            (0, Law::NoPanic) => {
                "   a guard beside the laws: the machine's own assertions are not switched off by any mutant"
            }
            (0, _) => "   SUSPECT: no mutant breaks it",
            _ => "",
        };
        println!("{count:>4}  {}{remark}", law.name());
    }
    println!("\n{} mutants, {survivors} survived", MUTANTS.len());
    survivors == 0
}

/// The laws that a mutant breaks, the one that caught it first.
fn kill(seeded: &Seeded) -> Vec<Law> {
    let Seeded { mutant, rule, config: name } = seeded;
    let config = configs::named(name).expect("mutants name configurations that are there");
    let explored = explore(&config, Some(*mutant), &Arc::default());
    let first = explored.found.as_ref().map(|(law, _)| *law);
    println!("{mutant:?} in {name}: broken is \"{rule}\"");
    let Some(first) = first else {
        println!("    SURVIVED {} states", explored.states);
        println!("VERDICT\t{mutant:?}\t{rule}\t");
        return Vec::new();
    };
    println!("    killed after {} states by \"{}\"", explored.states, first.name());
    println!("VERDICT\t{mutant:?}\t{rule}\tafter {} states: \"{}\"", explored.states, first.name());
    let others = broken_by(&config, *mutant, MOVES_MAX);
    let others: Vec<_> = others.into_iter().filter(|law| *law != first).collect();
    for other in &others {
        println!("    breaks, too: \"{}\"", other.name());
    }
    [vec![first], others].concat()
}
