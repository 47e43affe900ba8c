//! `cargo xtask bench`: measures. Figures are for reading: nothing passes or fails by them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::command::{cargo, output, program, run, run_lines};
use crate::servers;
use crate::workspace::target_directory;

pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench core
       cargo xtask bench log [sqlite|postgres...]
       cargo xtask bench restart [sqlite|postgres...] [--sagas N]
       cargo xtask bench coordinators
       cargo xtask bench steno [memory|sqlite...]
       cargo xtask bench soak [sqlite|postgres|memory...] [--minutes N]
       cargo xtask bench saga|rawsaga [kafka|rabbit|nats...] [--log sqlite|postgres|memory] [--grid] [--quick]
       cargo xtask bench bus [kafka|rabbit|nats...] [--quick]
       cargo xtask bench report

Measures sagas: core, in memory: throughput, latency, CPU and memory of each, what a step costs of a saga of 1 to 1000, and how many
allocations and messages a saga takes. log, with the saga log in a database: the same times, and how often the disk is synced. restart, a
coordinator that comes back to 100,000 sagas, or N. coordinators, one, two and four of them on PostgreSQL. steno, the same sagas by that
crate, in turns. soak, the same load for half an hour, or N minutes: whether throughput or memory have a slope. saga, over real brokers, in
turns with rawsaga: the same messages by the broker's own client, without a log; rawsaga, that alone. With --grid, sagas of 1 to 64 steps,
not only of 4. bus, what an adapter publishes and consumes beside that client. With --quick, whether they work and not how fast. Starts the
servers it needs; prints a table and, as its last line, JSON, which is kept in the target directory. report writes what is kept there into
docs/benchmarks.md, with charts.";

/// Where results are kept, in the target directory.
const RESULTS: &str = "bench";
const DOCS: &str = "docs";
const SQLITE: &str = "sqlite";
const POSTGRES: &str = "postgres";
const DATABASES: [&str; 2] = [SQLITE, POSTGRES];
const VARIABLE: &str = "SAGA_POSTGRES_URL";
const SAGAS: &str = "100000";
const MINUTES: &str = "30";
/// Such figures say little, and are not kept.
const QUICK: &str = "quick";
/// Its figures are kept beside those of four steps.
const GRID: &str = "grid";
const MEMORY: &str = "memory";
const MIMALLOC: [&str; 2] = ["--features", "mimalloc"];
/// Brokers, and the variables that hold their URLs.
const BROKERS: [(&str, &str); 3] =
    [("kafka", "SAGA_KAFKA_URL"), ("rabbit", "SAGA_RABBIT_URL"), ("nats", "SAGA_NATS_URL")];

/// What is to be measured.
pub(crate) enum Plan<'a> {
    Core,
    Report,
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
    /// Whether sagas have one step to many.
    is_grid: bool,
    is_quick: bool,
}

impl<'a> OverBrokers<'a> {
    fn chosen(benchmark: &'static str, words: &[&'a str], log: Option<&'a str>) -> Result<Self, String> {
        let mut chosen = Self { benchmark, brokers: Vec::new(), log, is_grid: false, is_quick: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--grid" if benchmark != "bus" => chosen.is_grid = true,
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
    match words {
        ["core"] => Ok(Plan::Core),
        ["report"] => Ok(Plan::Report),
        ["log", words @ ..] => Ok(Plan::Durable("log", logs(words, &DATABASES, &DATABASES)?, Vec::new())),
        ["restart", words @ .., "--sagas", sagas] if sagas.parse::<u64>().is_ok() => {
            Ok(Plan::Durable("restart", logs(words, &DATABASES, &DATABASES)?, vec![sagas]))
        }
        ["restart", words @ ..] => {
            Ok(Plan::Durable("restart", logs(words, &DATABASES, &DATABASES)?, vec![SAGAS]))
        }
        ["saga", words @ ..] => OverBrokers::chosen("compare", words, Some(SQLITE)).map(Plan::Brokers),
        ["rawsaga", words @ ..] => OverBrokers::chosen("rawsaga", words, None).map(Plan::Brokers),
        ["bus", words @ ..] => OverBrokers::chosen("bus", words, None).map(Plan::Brokers),
        ["soak", words @ .., "--minutes", minutes] if minutes.parse::<u64>().is_ok_and(|it| it > 0) => {
            Ok(Plan::Durable("soak", logs(words, &[MEMORY, SQLITE, POSTGRES], &[MEMORY])?, vec![minutes]))
        }
        ["soak", words @ ..] => {
            Ok(Plan::Durable("soak", logs(words, &[MEMORY, SQLITE, POSTGRES], &[MEMORY])?, vec![MINUTES]))
        }
        ["steno", words @ ..] => {
            Ok(Plan::Durable("steno", logs(words, &[MEMORY, SQLITE], &[MEMORY, SQLITE])?, Vec::new()))
        }
        ["coordinators"] => Ok(Plan::Durable("coordinators", vec![POSTGRES], Vec::new())),
        other => Err(format!("there is no benchmark {:?}", other.join(" "))),
    }
}

/// The logs that are named, of those that there are; these, if none is.
fn logs<'a>(words: &[&'a str], known: &[&str], unnamed: &[&'a str]) -> Result<Vec<&'a str>, String> {
    if let Some(other) = words.iter().find(|word| !known.contains(word)) {
        return Err(format!("{other:?} is none of {}", known.join(", ")));
    }
    Ok(if words.is_empty() { unnamed } else { words }.to_vec())
}

/// Measures.
pub(crate) fn measure(plan: &Plan<'_>) -> Result<bool, String> {
    match plan {
        Plan::Core => core()?,
        Plan::Report => {
            let results = target_directory()?.join(RESULTS).display().to_string();
            run(bench(&MIMALLOC, &["report", &results, DOCS]))?;
        }
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
                match *database {
                    MEMORY => run("memory:")?,
                    SQLITE => on_sqlite(&target, run)?,
                    _ => on_postgres(&target, run)?,
                }
            }
        }
    }
    Ok(true)
}

/// Memory with the allocator that everyone has, throughput with the one that a service under such a load would use, costs with one that
/// counts.
fn core() -> Result<(), String> {
    let (memory, costs) = (["core", "memory"], ["core", "costs"]);
    kept(bench(&[], &memory), &memory)?;
    kept(bench(&["--features", "allocations"], &costs), &costs)?;
    with_mimalloc(&["core", "throughput"])?;
    with_mimalloc(&["core", "fan-out"])
}

fn with_mimalloc(args: &[&str]) -> Result<(), String> {
    kept(bench(&MIMALLOC, args), args)
}

fn bench(features: &[&str], args: &[&str]) -> Command {
    let run = ["run", "--release", "--quiet", "--package", "saga-bench"];
    cargo([&run, features, &["--"], args].concat())
}

/// Runs a benchmark, shows what it says, and keeps the JSON in its last line, with when and where it was run.
fn kept(command: Command, args: &[&str]) -> Result<(), String> {
    let mut last = String::new();
    let succeeded = run_lines(command, |line| {
        println!("{line}");
        line.clone_into(&mut last);
    })?;
    if !succeeded {
        return Err(format!("the benchmark {} failed", args.join(" ")));
    }
    if args.contains(&QUICK) {
        return Ok(());
    }
    let result: Value = serde_json::from_str(&last)
        .map_err(|error| format!("the last line of the benchmark {} is no JSON: {error}", args.join(" ")))?;
    // Without what changes from run to run, and the password.
    let words = args.iter().map(|arg| arg.split(':').next().unwrap_or(arg)).collect::<Vec<_>>();
    let asked = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let date = output(program("date".as_ref(), ["-u", "+%F"]))?.trim().to_owned();
    let kept = json!({ "command": format!("cargo xtask {asked}"), "date": date, "machine": machine()?, "result": result });
    let folder = target_directory()?.join(RESULTS);
    let file = folder.join(format!("{}.json", words.join("-")));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, format!("{kept:#}\n")));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

/// What the figures depend on.
fn machine() -> Result<String, String> {
    let read = |file: &str| fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let of = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor =
        of(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let memory = of(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output(program("uname".as_ref(), ["-sr"]))?;
    let rustc = output(program("rustc".as_ref(), ["--version"]))?;
    Ok(format!("{cores} cores of {processor}, {memory} of memory, {}, {}", kernel.trim(), rustc.trim()))
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
    let mut more = Vec::new();
    more.extend(plan.is_grid.then_some(GRID));
    more.extend(plan.is_quick.then_some(QUICK));
    let up = servers::up(target, &[broker]);
    let measured = up.and_then(|variables| {
        let bus = servers::value(&variables, variable)?;
        let with_log = |log: &str| with_mimalloc(&[&[plan.benchmark, bus, log], &more[..]].concat());
        match plan.log {
            None => with_mimalloc(&[&[plan.benchmark, bus], &more[..]].concat()),
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
        let expected = OverBrokers {
            benchmark: "compare",
            brokers,
            log: Some("memory"),
            is_grid: false,
            is_quick: true,
        };
        assert_eq!(plan, expected);
        let Ok(Plan::Brokers(plan)) = chosen(&["rawsaga", "--grid"]) else {
            panic!("it is a benchmark over brokers")
        };
        assert!(plan.is_grid && !plan.is_quick);
        let Ok(Plan::Brokers(plan)) = chosen(&["bus"]) else { panic!("it is a benchmark over brokers") };
        assert_eq!((plan.brokers, plan.log), (BROKERS.to_vec(), None));
        assert!(chosen(&["rawsaga", "--log", "memory"]).is_err());
        assert!(chosen(&["saga", "zeromq"]).is_err());
        assert!(chosen(&["bus", "--grid"]).is_err());
    }
}
