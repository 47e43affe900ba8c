//! `cargo xtask chaos`: sagas on a real broker and a real database while everything dies.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{program, run as run_command};
use crate::{built, servers};

/// The mutants, each of which must be found out.
const MUTANTS: [&str; 3] = ["no-barrier", "acknowledge-before-append", "no-take-over"];
const BUSES: [&str; 3] = ["kafka", "rabbit", "nats"];
const LOGS: [&str; 2] = ["postgres", "sqlite"];

pub(crate) const USAGE: &str = "\
Usage: cargo xtask chaos [--bus kafka|rabbit|nats] [--log postgres|sqlite] [--minutes N] [--rate N] [--mutants|--forgets]

Runs sagas with three coordinators (one on SQLite) and two participants of each kind, each in a process of its own, while
processes are killed and paused, connections cut, the broker and the database killed and started again; then heals everything, and
holds the participants' own books against what the log says. With --mutants, rules are broken that the books must find out. With
--forgets nothing dies; instead the broker forgets what it has acknowledged, about every ten seconds: NATS is put back to an earlier copy
of its files, Kafka's topics are truncated, RabbitMQ's queues purged.";

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    bus: &'static str,
    log: &'static str,
    seconds: u32,
    rate: u32,
    mutants: bool,
    forgets: bool,
}

impl Plan {
    /// A short one.
    pub(crate) fn short(bus: &'static str, log: &'static str, seconds: u32) -> Self {
        Self { bus, log, seconds, rate: 20, mutants: false, forgets: false }
    }

    /// A short one of a broker that forgets.
    pub(crate) fn forgetting(bus: &'static str, log: &'static str, seconds: u32) -> Self {
        Self { forgets: true, ..Self::short(bus, log, seconds) }
    }
}

/// Reads the command line.
pub(crate) fn chosen(words: &[&str]) -> Result<Plan, String> {
    let mut plan = Plan::short("nats", "postgres", 60);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--mutants" {
            plan.mutants = true;
            continue;
        }
        if *word == "--forgets" {
            plan.forgets = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let number = || value.parse::<u32>().ok().filter(|number| *number > 0);
        let one_of = |known: &[&'static str]| known.iter().find(|known| *known == value).copied();
        let is_read = match *word {
            "--bus" => one_of(&BUSES).map(|bus| plan.bus = bus),
            "--log" => one_of(&LOGS).map(|log| plan.log = log),
            "--minutes" => number().map(|minutes| plan.seconds = minutes * 60),
            "--rate" => number().map(|rate| plan.rate = rate),
            _ => return Err(format!("there is no option {word:?}")),
        };
        is_read.ok_or_else(|| format!("{word} does not take {value:?}"))?;
    }
    if plan.forgets && plan.mutants {
        return Err("--mutants and --forgets are two runs".to_owned());
    }
    Ok(plan)
}

/// Starts the servers, breaks everything, and returns whether the books are right; of mutants, whether every one was found out.
pub(crate) fn run(plan: &Plan) -> Result<bool, String> {
    let target = crate::workspace::target_directory()?;
    let servers: Vec<_> =
        [plan.bus].into_iter().chain((plan.log == "postgres").then_some("postgres")).collect();
    let chaos = built::binary("chaos", "saga-chaos")?;
    let ran = servers::up(&target, &servers).and_then(|variables| {
        if !plan.mutants {
            return run_one(plan, &chaos, &target, &variables, None);
        }
        let mut survivors = Vec::new();
        for mutant in MUTANTS {
            if run_one(plan, &chaos, &target, &variables, Some(mutant))? {
                survivors.push(mutant);
            }
        }
        println!("\nmutants that were not found out: {survivors:?} of {MUTANTS:?}");
        Ok(survivors.is_empty())
    });
    servers::down(&target, &servers)?;
    ran
}

/// A run's own folder, which is made.
pub(crate) fn folder(target: &Path, run_name: &str) -> Result<PathBuf, String> {
    let folder = target.join("chaos").join(run_name);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    println!("what the processes say is in {}", folder.display());
    Ok(folder)
}

/// Whether the books are right.
fn run_one(
    plan: &Plan,
    chaos: &Path,
    target: &Path,
    variables: &[(String, String)],
    mutant: Option<&str>,
) -> Result<bool, String> {
    let url = |name: &str| servers::value(variables, &format!("SAGA_{}_URL", name.to_uppercase()));
    let run_name = format!("chaos_{}_{}", std::process::id(), mutant.unwrap_or("none").replace('-', "_"));
    let folder = folder(target, &run_name)?;
    let bus = format!("{}?prefix={run_name}.", url(plan.bus)?);
    let (log, books) = if plan.log == "postgres" {
        let server = url("postgres")?;
        (format!("{server}?schema={run_name}_log"), server.to_owned())
    } else {
        (format!("sqlite:{}/log.db", folder.display()), folder.display().to_string())
    };
    let seconds = plan.seconds.to_string();
    let rate = plan.rate.to_string();
    let mut command =
        program(chaos, ["run", "--bus", &bus, "--broker", plan.bus, "--log", &log, "--books", &books]);
    command.arg("--folder").arg(&folder).args(["--run", &run_name, "--seconds", &seconds, "--rate", &rate]);
    command.args(plan.forgets.then_some("--forgets"));
    command.args(mutant.iter().flat_map(|mutant| ["--mutant", mutant]));
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Ok(run_command(command).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(chosen(&[]).unwrap(), Plan::short("nats", "postgres", 60));
        let plan = chosen(&["--bus", "kafka", "--log", "sqlite", "--minutes", "5", "--mutants"]).unwrap();
        assert_eq!(plan, Plan { mutants: true, ..Plan::short("kafka", "sqlite", 300) });
        assert_eq!(chosen(&["--forgets"]).unwrap(), Plan::forgetting("nats", "postgres", 60));
        for wrong in [
            &["--forgets", "--mutants"][..],
            &["--bus", "zeromq"],
            &["--minutes"],
            &["--minutes", "0"],
            &["--loud", "1"],
        ] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }
}
