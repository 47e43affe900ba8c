//! `cargo xtask conformance`: the conformance suite on every bus, as one table.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use self::table::Table;
use crate::command::{cargo, run as run_command};
use crate::servers;

/// A bus and the test that runs the suite on it.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) name: &'static str,
    package: &'static str,
    test: &'static str,
    has_server: bool,
}

/// All buses, in the order of the table's columns.
pub(crate) const BUSES: &[Bus] = &[
    Bus { name: "memory", package: "saga-conformance", test: "memory", has_server: false },
    Bus { name: "kafka", package: "saga-kafka", test: "conformance", has_server: true },
    Bus { name: "rabbit", package: "saga-rabbit", test: "conformance", has_server: true },
    Bus { name: "nats", package: "saga-nats", test: "conformance", has_server: true },
];

/// What became of a case, as the suite writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    case: u8,
    name: String,
    verdict: String,
    reason: Option<String>,
    seconds: f64,
    note: Option<String>,
}

/// The buses and the cases that are asked for: words before `--` are buses, those behind it choose cases. All, if none is named.
pub(crate) fn chosen<'a>(words: &[&'a str]) -> Result<(Vec<&'static Bus>, Vec<&'a str>), String> {
    let split = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (names, rest) = words.split_at(split);
    let find = |name: &&str| {
        BUSES.iter().find(|bus| bus.name == *name).ok_or_else(|| {
            let known: Vec<_> = BUSES.iter().map(|bus| bus.name).collect();
            format!("there is no bus {name:?}; there are {}", known.join(", "))
        })
    };
    let buses = if names.is_empty() { Ok(BUSES.iter().collect()) } else { names.iter().map(find).collect() };
    Ok((buses?, rest.iter().skip(1).copied().collect()))
}

/// Starts the servers, runs the suite on these buses, one after the other, stops the servers, prints the table and writes it as JSON.
pub(crate) fn run(buses: &[&Bus], cases: &[&str]) -> Result<Table, String> {
    let target = crate::workspace::target_directory()?;
    let names: Vec<_> = buses.iter().filter(|bus| bus.has_server).map(|bus| bus.name).collect();
    let variables = if names.is_empty() { Vec::new() } else { servers::up(&target, &names)? };
    let table = run_with(buses, cases, &target, &variables);
    servers::down(&target, &names)?;
    table
}

fn run_with(
    buses: &[&Bus],
    cases: &[&str],
    target: &Path,
    variables: &[(String, String)],
) -> Result<Table, String> {
    let folder = target.join("conformance");
    std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    let mut table = Table::default();
    for bus in buses {
        println!("\n== conformance of {} ==", bus.name);
        let json = folder.join(format!("{}.json", bus.name));
        table.add(bus.name, run_on(bus, cases, &json, variables));
    }
    println!("\n{table}");
    let all: BTreeMap<_, _> = table.columns().collect();
    let path = folder.join("conformance.json");
    let text = serde_json::to_string_pretty(&all).map_err(|error| unwritable(&path, &error))?;
    std::fs::write(&path, text + "\n").map_err(|error| unwritable(&path, &error))?;
    println!("written to {}", path.display());
    Ok(table)
}

/// The reports of one bus. A run that fails has reports, too, unless it broke off.
fn run_on(
    bus: &Bus,
    cases: &[&str],
    json: &PathBuf,
    variables: &[(String, String)],
) -> Result<Vec<Report>, String> {
    // What an earlier run wrote must not be taken for this one's.
    if json.exists() {
        std::fs::remove_file(json).map_err(|error| unwritable(json, &error))?;
    }
    let mut command = cargo(["test", "-p", bus.package, "--test", bus.test, "--", "--required", "--json"]);
    command.arg(json).args(cases).envs(variables.iter().map(|(name, value)| (name, value)));
    let ran = run_command(command);
    let Ok(text) = std::fs::read_to_string(json) else {
        return Err(ran.err().unwrap_or_else(|| "it wrote no results".to_owned()));
    };
    let reports: Vec<Report> =
        serde_json::from_str(&text).map_err(|error| format!("{} cannot be read: {error}", json.display()))?;
    match ran {
        // It failed after the cases, which must not look well.
        Err(why) if reports.iter().all(|report| report.verdict != "failed") => Err(why),
        _ => Ok(reports),
    }
}

fn unwritable(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{} cannot be written: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_and_cases_are_chosen() {
        let names = |words: &[&str]| {
            let (buses, cases) = chosen(words).unwrap();
            (buses.iter().map(|bus| bus.name).collect::<Vec<_>>(), cases.join(" "))
        };
        assert_eq!(names(&[]).0.len(), BUSES.len());
        assert_eq!(names(&["nats", "--", "17", "poison"]), (vec!["nats"], "17 poison".to_owned()));
        assert_eq!(names(&["--", "17"]).0.len(), BUSES.len());
        assert!(chosen(&["natz"]).unwrap_err().contains("natz"));
    }
}
