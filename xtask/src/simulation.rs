//! The simulation, and the mutants that it and the model catch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::command::{output, program, run, run_lines};
use crate::{built, model};

/// Runs seeds, as `saga-sim run` takes them.
pub(crate) fn simulate(args: &[&str]) -> Result<bool, String> {
    run(program(&simulation()?, ["run"].iter().chain(args)))?;
    Ok(true)
}

/// Runs some seeds twice, built with and without optimization, and compares every line of what happened.
pub(crate) fn check_alike() -> Result<(), String> {
    let builds = [simulation()?, built::binary("sim", "saga-sim")?];
    for seed in ["1", "2", "3"] {
        let trace = |build: &PathBuf| output(program(build, ["run", "--seed", seed, "--trace"]));
        let [optimized, unoptimized] = builds.each_ref().map(trace);
        let (optimized, unoptimized) = (optimized?, unoptimized?);
        if optimized != unoptimized {
            let mut lines = optimized.lines().zip(unoptimized.lines());
            let (a, b) = lines.find(|(a, b)| a != b).unwrap_or(("", "more lines in one of them"));
            return Err(format!("seed {seed} does not repeat. Optimized:\n{a}\nunoptimized:\n{b}"));
        }
        println!("seed {seed}: {} lines, the same with and without optimization", optimized.lines().count());
    }
    Ok(())
}

/// Runs every mutant of the model and of the simulation, shows who caught whom, and says whether somebody caught each.
pub(crate) fn mutants() -> Result<bool, String> {
    let mut table = Table::default();
    let is_good = table.fill(&model::checker()?, By::Model)? & table.fill(&simulation()?, By::Simulation)?;
    println!("\n{table}");
    Ok(is_good && table.survivors() == 0)
}

fn simulation() -> Result<PathBuf, String> {
    built::optimized("sim", "saga-sim")
}

#[derive(Clone, Copy)]
enum By {
    Model,
    Simulation,
}

/// Who was caught by what.
#[derive(Default)]
struct Table(BTreeMap<String, Row>);

#[derive(Default)]
struct Row {
    rule: String,
    /// By the model, and by the simulation; `None` where it does not have this mutant.
    killers: [Option<String>; 2],
}

impl Table {
    /// Runs a program's mutants, and takes in what it says of each in a line of its own.
    fn fill(&mut self, by_program: &Path, by: By) -> Result<bool, String> {
        run_lines(program(by_program, ["mutants"]), |line| match line.strip_prefix("VERDICT\t") {
            Some(verdict) => self.take(verdict, by),
            None => println!("{line}"),
        })
    }

    fn take(&mut self, verdict: &str, by: By) {
        let mut parts = verdict.splitn(3, '\t');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let row = self.0.entry(next()).or_default();
        row.rule = next();
        row.killers[by as usize] = Some(next());
    }

    /// How many nobody has caught.
    fn survivors(&self) -> usize {
        let is_alive = |row: &&Row| row.killers.iter().flatten().all(String::is_empty);
        self.0.values().filter(is_alive).count()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (mutant, Row { rule, killers }) in &self.0 {
            writeln!(f, "{mutant}: not \"{rule}\"")?;
            for (killer, by) in killers.iter().zip(["model", "simulation"]) {
                match killer.as_deref() {
                    None => {}
                    Some("") => writeln!(f, "    {by:<11} does not see it")?,
                    Some(killer) => writeln!(f, "    {by:<11} {killer}")?,
                }
            }
        }
        write!(f, "{} mutants, {} survived", self.0.len(), self.survivors())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_survives_whom_neither_has_caught() {
        let mut table = Table::default();
        table.take("A\tno a\t12 states: \"law\"", By::Model);
        table.take("A\tno a\t", By::Simulation);
        table.take("B\tno b\t", By::Simulation);
        assert_eq!(table.survivors(), 1);
        let shown = table.to_string();
        assert!(shown.contains("    simulation  does not see it"), "{shown}");
        assert!(shown.ends_with("2 mutants, 1 survived"), "{shown}");
    }
}
