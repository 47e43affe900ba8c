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
       cargo xtask bench saga|rawsaga [kafka|rabbit|nats...] [--log sqlite|postgres|memory] [--quick]
       cargo xtask bench bus [kafka|rabbit|nats...] [--quick]

Measures sagas: core, in memory: throughput, latency, CPU and memory of each. log, with the saga log in a database: the same, and how
often the disk is synced. restart, a coordinator that comes back to 100,000 sagas, or N. coordinators, one, two and four of them on
PostgreSQL. saga, over real brokers, in turns with rawsaga: the same messages by the broker's own client, without a log; rawsaga, that alone.
bus, what an adapter publishes and consumes beside that client. With --quick, whether they work and not how fast. Starts the servers it
needs; prints a table and, as its last line, JSON.";

const SQLITE: &str = "sqlite";
const POSTGRES: &str = "postgres";
const VARIABLE: &str = "SAGA_POSTGRES_URL";
const SAGAS: &str = "100000";
const MEMORY: &str = "memory";
/// Brokers, and the variables that hold their URLs.
const BROKERS: [(&str, &str); 3] =
    [("kafka", "SAGA_KAFKA_URL"), ("rabbit", "SAGA_RABBIT_URL"), ("nats", "SAGA_NATS_URL")];

/// What is to be measured.
pub(crate) enum Plan<'a> {
    Core,
    /// A benchmark of the program, the databases that it is for, and what else it is told.
    Durable(&'static str, Vec<&'a str>, Vec<&'a str>),
    Brokers(OverBrokers<'a>),
}

/// A benchmark of the program, on one broker after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OverBrokers<'a> {
    benchmark: &'static str,
    brokers: Vec<(&'static str, &'static str)>,
    /// The log, where one is needed.
    log: Option<&'a str>,
    is_quick: bool,
}

impl<'a> OverBrokers<'a> {
    fn chosen(benchmark: &'static str, words: &[&'a str], log: Option<&'a str>) -> Result<Self, String> {
        let mut chosen = Self { benchmark, brokers: Vec::new(), log, is_quick: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => chosen.is_quick = true,
                "--log" if log.is_some() => {
                    let named = words.next().filter(|name| [SQLITE, POSTGRES, MEMORY].contains(name));
                    chosen.log = Some(named.ok_or("--log takes sqlite, postgres or memory")?);
                }
                name => {
                    let broker = BROKERS.iter().find(|(known, _)| *known == name);
                    chosen.brokers.push(*broker.ok_or_else(|| format!("{name:?} is no broker"))?);
                }
            }
        }
        if chosen.brokers.is_empty() {
            chosen.brokers = BROKERS.to_vec();
        }
        Ok(chosen)
    }
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
        ["saga", words @ ..] => OverBrokers::chosen("compare", words, Some(SQLITE)).map(Plan::Brokers),
        ["rawsaga", words @ ..] => OverBrokers::chosen("rawsaga", words, None).map(Plan::Brokers),
        ["bus", words @ ..] => OverBrokers::chosen("bus", words, None).map(Plan::Brokers),
        ["coordinators"] => Ok(Plan::Durable("coordinators", vec![POSTGRES], Vec::new())),
        other => Err(format!("there is no benchmark {:?}", other.join(" "))),
    }
}

/// Measures.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<bool, String> {
    match plan {
        Plan::Core => core()?,
        Plan::Brokers(plan) => {
            let target = target_directory()?;
            for (broker, variable) in &plan.brokers {
                over_broker(&target, plan, broker, variable)?;
            }
        }
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

/// One broker at a time, so that no other takes the processor from it.
fn over_broker(
    target: &Path,
    plan: &OverBrokers<'_>,
    broker: &'static str,
    variable: &str,
) -> Result<(), String> {
    let quick: &[&str] = if plan.is_quick { &["quick"] } else { &[] };
    let up = servers::up(target, &[broker]);
    let measured = up.and_then(|variables| {
        let bus = servers::value(&variables, variable)?;
        let with_log = |log: &str| with_mimalloc(&[&[plan.benchmark, bus, log], quick].concat());
        match plan.log {
            None => with_mimalloc(&[&[plan.benchmark, bus], quick].concat()),
            Some(MEMORY) => with_log("memory:"),
            Some(SQLITE) => on_sqlite(target, with_log),
            Some(_) => on_postgres(target, with_log),
        }
    });
    let down = servers::down(target, &[broker]);
    measured.and(down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_the_log_are_chosen_by_name() {
        let Ok(Plan::Brokers(plan)) = chosen(&["saga", "nats", "--log", "memory", "--quick"]) else {
            panic!("it is a benchmark over brokers")
        };
        let brokers = vec![("nats", "SAGA_NATS_URL")];
        assert_eq!(plan, OverBrokers { benchmark: "compare", brokers, log: Some("memory"), is_quick: true });
        let Ok(Plan::Brokers(plan)) = chosen(&["bus"]) else { panic!("it is a benchmark over brokers") };
        assert_eq!((plan.brokers, plan.log), (BROKERS.to_vec(), None));
        assert!(chosen(&["rawsaga", "--log", "memory"]).is_err());
        assert!(chosen(&["saga", "zeromq"]).is_err());
    }
}
