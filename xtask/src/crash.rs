//! `cargo xtask crash`: a process dies at every point, on every bus and every log, and is started again.

use std::path::Path;

use crate::command::{program, run as run_command};
use crate::{built, chaos, servers};

const BUSES: [&str; 4] = ["memory", "nats", "rabbit", "kafka"];
const LOGS: [&str; 2] = ["sqlite", "postgres"];

pub(crate) const USAGE: &str = "\
Usage: cargo xtask crash [--bus memory|nats|rabbit|kafka] [--log sqlite|postgres] [--at POINT]

A process that is coordinator and participants at once runs undisturbed, and lists the points before and after each append, publish,
acknowledgement, effect, commit and callback. Then, at each of them, another one is killed (-9) and started again; its sagas must end, and
the participants' books must be right. On every bus and every log, unless some are chosen; at one point only with --at.";

/// On what, and where, processes are to die.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pairs: Vec<(&'static str, &'static str)>,
    at: Option<String>,
}

impl Plan {
    /// At every point, on these buses with these logs.
    pub(crate) const fn everywhere(pairs: Vec<(&'static str, &'static str)>) -> Self {
        Self { pairs, at: None }
    }
}

/// Reads the command line.
pub(crate) fn chosen(words: &[&str]) -> Result<Plan, String> {
    let (mut buses, mut logs, mut at) = (BUSES.to_vec(), LOGS.to_vec(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = *words.next().ok_or_else(|| format!("{word} takes a value"))?;
        let one_of = |known: &[&'static str]| {
            let found = known.iter().find(|known| **known == value);
            found.map(|found| vec![*found]).ok_or_else(|| format!("{word} does not take {value:?}"))
        };
        match *word {
            "--bus" => buses = one_of(&BUSES)?,
            "--log" => logs = one_of(&LOGS)?,
            "--at" => at = Some(value.to_owned()),
            _ => return Err(format!("there is no option {word:?}")),
        }
    }
    let pairs = buses.iter().flat_map(|bus| logs.iter().map(move |log| (*bus, *log))).collect();
    Ok(Plan { pairs, at })
}

/// Starts the servers, and returns whether everything was right at every point.
pub(crate) fn run(plan: &Plan) -> Result<bool, String> {
    let target = crate::workspace::target_directory()?;
    let names = plan.pairs.iter().flat_map(|(bus, log)| [*bus, *log]);
    let mut servers: Vec<_> = names.filter(|name| !["memory", "sqlite"].contains(name)).collect();
    servers.sort_unstable();
    servers.dedup();
    let program = built::binary("chaos", "saga-chaos")?;
    let ran = servers::up(&target, &servers).and_then(|variables| {
        let mut is_right = true;
        for (bus, log) in &plan.pairs {
            println!("\n-- {bus} and {log} --");
            is_right &= run_one(plan, bus, log, &program, &target, &variables)?;
        }
        Ok(is_right)
    });
    servers::down(&target, &servers)?;
    ran
}

fn run_one(
    plan: &Plan,
    bus: &str,
    log: &str,
    crash: &Path,
    target: &Path,
    variables: &[(String, String)],
) -> Result<bool, String> {
    let url = |name: &str| servers::value(variables, &format!("SAGA_{}_URL", name.to_uppercase()));
    let run_name = format!("crash_{}_{bus}_{log}", std::process::id());
    let folder = chaos::folder(target, &run_name)?;
    let bus = if bus == "memory" { "memory:" } else { url(bus)? };
    // Each process has a file or a schema of its own there.
    let log = if log == "sqlite" { "sqlite:" } else { url(log)? };
    let mut command =
        program(crash, ["crash", "--bus", bus, "--log", log, "--books", log, "--run", &run_name]);
    command.arg("--folder").arg(&folder);
    command.args(plan.at.iter().flat_map(|at| ["--at", at]));
    Ok(run_command(command).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(chosen(&[]).unwrap().pairs.len(), BUSES.len() * LOGS.len());
        let one = chosen(&["--bus", "nats", "--log", "sqlite", "--at", "before calling back"]).unwrap();
        assert_eq!(one, Plan { pairs: vec![("nats", "sqlite")], at: Some("before calling back".to_owned()) });
        for wrong in [&["--bus", "zeromq"][..], &["--log"], &["--loud", "1"]] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }
}
