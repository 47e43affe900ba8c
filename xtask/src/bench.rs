//! `cargo xtask bench`: measures. Figures are for reading: nothing passes or fails by them.

use std::path::Path;

use crate::command::{cargo, run};
use crate::servers;
use crate::workspace::target_directory;

pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench core
       cargo xtask bench log [sqlite|postgres...]
       cargo xtask bench restart [sqlite|postgres...] [--sagas N]
       cargo xtask bench coordinators

Measures sagas: core, in memory: throughput, latency, CPU and memory of each. log, with the saga log in a database: the same, and how
often the disk is synced. restart, a coordinator that comes back to 100,000 sagas, or N. coordinators, one, two and four of them on
PostgreSQL. Starts the server it needs; prints a table and, as its last line, JSON.";

const SQLITE: &str = "sqlite";
const POSTGRES: &str = "postgres";
const VARIABLE: &str = "SAGA_POSTGRES_URL";
const SAGAS: &str = "100000";

/// What is to be measured.
pub(crate) enum Plan<'a> {
    Core,
    /// A benchmark of the program, the databases that it is for, and what else it is told.
    Durable(&'static str, Vec<&'a str>, Vec<&'a str>),
}

/// Reads what follows `bench`.
pub(crate) fn chosen<'a>(words: &[&'a str]) -> Result<Plan<'a>, String> {
    let databases = |words: &[&'a str]| {
        if let Some(other) = words.iter().find(|word| ![SQLITE, POSTGRES].contains(word)) {
            return Err(format!("{other:?} is neither {SQLITE} nor {POSTGRES}"));
        }
        Ok(if words.is_empty() { vec![SQLITE, POSTGRES] } else { words.to_vec() })
    };
    match words {
        ["core"] => Ok(Plan::Core),
        ["log", words @ ..] => Ok(Plan::Durable("log", databases(words)?, Vec::new())),
        ["restart", words @ .., "--sagas", sagas] if sagas.parse::<u64>().is_ok() => {
            Ok(Plan::Durable("restart", databases(words)?, vec![sagas]))
        }
        ["restart", words @ ..] => Ok(Plan::Durable("restart", databases(words)?, vec![SAGAS])),
        ["coordinators"] => Ok(Plan::Durable("coordinators", vec![POSTGRES], Vec::new())),
        other => Err(format!("there is no benchmark {:?}", other.join(" "))),
    }
}

/// Measures.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<bool, String> {
    match plan {
        Plan::Core => core()?,
        Plan::Durable(benchmark, databases, more) => {
            let target = target_directory()?;
            for database in databases {
                let run = |url: &str| with_mimalloc(&[&[benchmark, url][..], more].concat());
                if *database == SQLITE { on_sqlite(&target, run)? } else { on_postgres(&target, run)? }
            }
        }
    }
    Ok(true)
}

/// Memory with the allocator that everyone has, throughput with the one that a service under such a load would use.
fn core() -> Result<(), String> {
    run(cargo(["run", "--release", "--quiet", "--package", "saga-bench", "--", "core", "memory"]))?;
    with_mimalloc(&["core", "throughput"])
}

fn with_mimalloc(args: &[&str]) -> Result<(), String> {
    let bench = ["run", "--release", "--quiet", "--package", "saga-bench", "--features", "mimalloc", "--"];
    run(cargo(bench.iter().chain(args)))
}

/// In a new file.
fn on_sqlite(target: &Path, run: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    let file = target.join("bench.db").display().to_string();
    let remove = || {
        for end in ["", "-wal", "-shm"] {
            let _none = std::fs::remove_file(format!("{file}{end}"));
        }
    };
    remove();
    let measured = run(&format!("sqlite:{file}"));
    remove();
    measured
}

/// On a server that is started for it.
fn on_postgres(target: &Path, run: impl Fn(&str) -> Result<(), String>) -> Result<(), String> {
    let up = servers::up(target, &[POSTGRES]);
    let measured = up.and_then(|variables| run(servers::value(&variables, VARIABLE)?));
    let down = servers::down(target, &[POSTGRES]);
    measured.and(down)
}
