//! The deterministic simulation: the real coordinators and participants, on one thread and under simulated time, whatever is lost, doubled, late,
//! cut off, standing still or dead meanwhile. `cargo xtask sim` and `cargo xtask mutants` run it.

mod acknowledged;
mod bus;
mod callback;
mod chance;
mod check;
mod clock;
mod coverage;
mod definitions;
mod driver;
mod handlers;
mod inbox;
mod keeper;
mod laws;
mod ledger;
mod log;
mod mutants;
mod operator;
mod plan;
mod process;
mod report;
mod run;
mod seen;
mod shrink;
mod sights;
#[cfg(test)]
mod tests;
mod trace;
mod weather;
mod world;

use std::process::ExitCode;

const USAGE: &str = "usage: saga-sim run [--quick | --seeds N [--first SEED]] | run --seed SEED [--only FAULTS/SAGAS] [--trace] | mutants [SEEDS]";

/// Seeds for a table without holes, and for a quick look.
const SEEDS: u64 = 10_000;
const SEEDS_QUICK: u64 = 2_000;
/// So many seeds may a mutant live.
const MUTANT_SEEDS: u64 = 2_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match command(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Does what the words say; `None` when they say nothing.
fn command(words: &[&str]) -> Option<bool> {
    match words {
        ["run"] => Some(report::seeds(0, SEEDS, true)),
        ["run", "--quick"] => Some(report::seeds(0, SEEDS_QUICK, false)),
        ["run", "--seeds", count] => seeds("0", count),
        ["run", "--seeds", count, "--first", first] => seeds(first, count),
        ["run", "--seed", seed, rest @ ..] => one(seed, rest),
        ["mutants"] => Some(report::mutants(MUTANT_SEEDS)),
        ["mutants", count] => Some(report::mutants(count.parse().ok()?)),
        _ => None,
    }
}

fn seeds(first: &str, count: &str) -> Option<bool> {
    let count = count.parse().ok()?;
    Some(report::seeds(first.parse().ok()?, count, count >= SEEDS))
}

fn one(seed: &str, rest: &[&str]) -> Option<bool> {
    let plan = plan::draw(seed.parse().ok()?);
    let (plan, is_traced) = match rest {
        [] => (plan, false),
        ["--trace"] => (plan, true),
        ["--only", kept] => (shrink::only(&plan, kept)?, false),
        ["--only", kept, "--trace"] => (shrink::only(&plan, kept)?, true),
        _ => return None,
    };
    Some(report::one(&plan, is_traced))
}
