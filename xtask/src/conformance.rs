//! `cargo xtask conformance`: the conformance suite on every bus, as one table.

mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

pub(crate) use self::table::Table;
use crate::built;
use crate::command::{program, run_lines};
use crate::servers;

/// A bus and the test that runs the suite on it.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) name: &'static str,
    package: &'static str,
    test: &'static str,
    server: Option<Server>,
}

/// The server of a bus.
#[derive(Debug)]
struct Server {
    name: &'static str,
    /// Where its URL is found, and where the test looks for it.
    variables: (&'static str, &'static str),
}

const fn on_server(name: &'static str, package: &'static str, from: &'static str, to: &'static str) -> Bus {
    let server = Server { name, variables: (from, to) };
    Bus { name, package, test: "conformance", server: Some(server) }
}

/// All buses, in the order of the table's columns.
pub(crate) const BUSES: &[Bus] = &[
    Bus { name: "memory", package: "saga-conformance", test: "memory", server: None },
    on_server("kafka", "saga-kafka", "SAGA_KAFKA_URL", "SAGA_KAFKA_URL"),
    on_server("rabbit", "saga-rabbit", "SAGA_RABBIT_URL", "SAGA_RABBIT_URL"),
    on_server("nats", "saga-nats", "SAGA_NATS_URL", "SAGA_NATS_URL"),
];

/// The oldest versions of servers, which `--all-versions` adds.
pub(crate) const OLDER: &[Bus] = &[
    on_server("rabbit-3.10", "saga-rabbit", "SAGA_RABBIT_3_10_URL", "SAGA_RABBIT_URL"),
    on_server("nats-2.10", "saga-nats", "SAGA_NATS_2_10_URL", "SAGA_NATS_URL"),
];

const ALL_VERSIONS: &str = "--all-versions";
/// So many buses are tried at once: the cases mostly wait.
const LANES: usize = 3;

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
    let all = || BUSES.iter().chain(OLDER);
    let find = |name: &&str| {
        all().find(|bus| bus.name == *name).ok_or_else(|| {
            let known: Vec<_> = all().map(|bus| bus.name).collect();
            format!("there is no bus {name:?}; there are {}", known.join(", "))
        })
    };
    let mut buses =
        names.iter().filter(|name| **name != ALL_VERSIONS).map(find).collect::<Result<Vec<_>, _>>()?;
    if buses.is_empty() {
        buses.extend(BUSES);
    }
    if names.contains(&ALL_VERSIONS) {
        buses.extend(OLDER);
    }
    Ok((buses, rest.iter().skip(1).copied().collect()))
}

/// Starts the servers, runs the suite on these buses, stops the servers, prints the table and writes it as JSON.
pub(crate) fn run(buses: &[&Bus], cases: &[&str]) -> Result<Table, String> {
    let target = crate::workspace::target_directory()?;
    let names: Vec<_> = buses.iter().filter_map(|bus| Some(bus.server.as_ref()?.name)).collect();
    let variables = servers::up(&target, &names);
    let table = variables.and_then(|variables| run_with(buses, cases, &target, &variables));
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
    let suites = built::tests(&["conformance", "memory"])?;
    let mut ran = in_lanes(buses, |bus| {
        let suite = built::find(&suites, bus.package, bus.test)?;
        run_on(bus, &suite.path, cases, &folder.join(format!("{}.json", bus.name)), variables)
    });
    let mut table = Table::default();
    for bus in buses {
        let reports = ran.remove(bus.name).unwrap_or_else(|| Err("it was not run".to_owned()));
        table.add(bus.name, reports);
    }
    println!("\n{table}");
    let all: BTreeMap<_, _> = table.columns().collect();
    let path = folder.join("conformance.json");
    let text = serde_json::to_string_pretty(&all).map_err(|error| unwritable(&path, &error))?;
    std::fs::write(&path, text + "\n").map_err(|error| unwritable(&path, &error))?;
    println!("written to {}", path.display());
    Ok(table)
}

type Ran = Result<Vec<Report>, String>;

/// Whichever lane is free takes the next bus.
fn in_lanes(buses: &[&Bus], run: impl Fn(&Bus) -> Ran + Sync) -> BTreeMap<&'static str, Ran> {
    let waiting = Mutex::new(buses.iter().copied());
    let ended = Mutex::new(BTreeMap::new());
    let lane = || {
        loop {
            // The guard must not outlive the statement.
            let next = waiting.lock().expect("no lane panics with it").next();
            let Some(bus) = next else { break };
            let ran = run(bus);
            ended.lock().expect("no lane panics with it").insert(bus.name, ran);
        }
    };
    std::thread::scope(|scope| {
        (0..LANES).for_each(|_| {
            scope.spawn(lane);
        });
    });
    ended.into_inner().expect("no lane panics with it")
}

/// The reports of one bus. A run that fails has reports, too, unless it broke off.
fn run_on(bus: &Bus, suite: &Path, cases: &[&str], json: &Path, variables: &[(String, String)]) -> Ran {
    // What an earlier run wrote must not be taken for this one's.
    if json.exists() {
        std::fs::remove_file(json).map_err(|error| unwritable(json, &error))?;
    }
    let mut command = program(suite, ["--required", "--json"]);
    command.arg(json).args(cases).envs(variables.iter().map(|(name, value)| (name, value)));
    if let Some(Server { name, variables: (from, to) }) = &bus.server {
        command.env(to, servers::value(variables, from)?).env("SAGA_SERVER", name);
    }
    let ran = run_lines(command, |line| println!("{:<11} | {line}", bus.name));
    let Ok(text) = std::fs::read_to_string(json) else {
        return Err(ran.err().unwrap_or_else(|| "it wrote no results".to_owned()));
    };
    let reports: Vec<Report> =
        serde_json::from_str(&text).map_err(|error| format!("{} cannot be read: {error}", json.display()))?;
    match ran {
        Err(why) => Err(why),
        // It failed after the cases, which must not look well.
        Ok(false) if reports.iter().all(|report| report.verdict != "failed") => {
            Err("it failed, although no case did".to_owned())
        }
        Ok(_) => Ok(reports),
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
        assert_eq!(names(&["--all-versions"]).0.len(), BUSES.len() + OLDER.len());
        assert_eq!(names(&["rabbit-3.10"]).0, ["rabbit-3.10"]);
        assert!(chosen(&["natz"]).unwrap_err().contains("natz"));
    }
}
