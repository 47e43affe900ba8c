//! Mutants of the source: each small change that cargo-mutants makes to the code that decides, which a quick test must see.
//! `.cargo/mutants.toml` names those that no test can see, and why.

use std::fs;
use std::path::Path;

use crate::command::{ended, program};
use crate::tools;
use crate::workspace::target_directory;

/// How the command is called.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask mutants --source [AREA...]

Lets cargo-mutants change the code that decides, one small change after the other, in all areas or in those named, and shows each
change that no test of its package notices. Takes hours for all of them.";

/// Code that decides, and the quick tests that are to notice its mutants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Area {
    name: &'static str,
    what: &'static str,
    /// What is mutated, and which tests are built, in cargo-mutants' words.
    args: &'static [&'static str],
    /// Which of the tests run, by parts of their names; all, if empty.
    tests: &'static [&'static str],
}

const AREAS: &[Area] = &[
    Area {
        name: "machine",
        what: "the pure saga",
        args: &["--package=saga-core", "--file=saga-core/src/machine/*.rs", "--cargo-arg=--lib"],
        tests: &["machine::"],
    },
    Area {
        name: "barrier",
        what: "what one row says to a claim",
        args: &["--package=saga-core", "--file=saga-core/src/participant/barrier/*.rs", "--cargo-arg=--lib"],
        tests: &["participant::barrier::"],
    },
    Area {
        name: "deliveries",
        what: "what is delivered, settled, and delivered again",
        args: &[
            "--package=saga-core",
            "--file=saga-core/src/adapter/deliveries.rs",
            "--file=saga-core/src/adapter/deliveries/*.rs",
            "--features=adapter",
            "--cargo-arg=--lib",
        ],
        tests: &["adapter::deliveries::"],
    },
    Area {
        name: "kafka",
        what: "up to which offset is committed",
        args: &["--package=saga-kafka", "--file=saga-kafka/src/settle/tracker.rs", "--cargo-arg=--lib"],
        tests: &["settle::"],
    },
    Area {
        name: "rabbit",
        what: "which deliveries one acknowledgement covers, and where a retry waits",
        args: &[
            "--package=saga-rabbit",
            "--file=saga-rabbit/src/settle.rs",
            "--file=saga-rabbit/src/settle/tags.rs",
            "--cargo-arg=--lib",
        ],
        tests: &["settle::"],
    },
    Area {
        name: "nats",
        what: "whether a delivery can still be settled",
        args: &["--package=saga-nats", "--file=saga-nats/src/settle.rs", "--cargo-arg=--lib"],
        tests: &["settle::"],
    },
    Area {
        name: "owners",
        what: "coordinators' leases in memory",
        args: &["--package=saga-core", "--file=saga-core/src/memory/log/owners.rs", "--cargo-arg=--lib"],
        tests: &["memory::log::"],
    },
    Area {
        name: "tenure",
        what: "how a coordinator keeps its lease and reckons the log's time",
        args: &[
            "--package=saga-core",
            "--file=saga-core/src/coordinator/tenure.rs",
            "--file=saga-core/src/coordinator/taken_over.rs",
            "--cargo-arg=--package=saga-rs",
            "--cargo-arg=--lib",
            "--cargo-arg=--test=waking",
        ],
        tests: &["coordinator::", "deadlines::", "identity::", "recovery::", "several::"],
    },
    Area {
        name: "leases",
        what: "keyed leases, and coordinators' leases in SQLite",
        args: &[
            "--package=saga-sql",
            "--file=saga-sql/src/leases/*.rs",
            "--file=saga-sql/src/sqlite/lease*.rs",
            "--features=sqlite",
            "--cargo-arg=--test=log",
            "--cargo-arg=--test=outbox",
        ],
        tests: &[
            "sqlite::two_never_hold_one_key",
            "sqlite::one_that_ran_out",
            "sqlite::the_number_grows",
            "sqlite::who_has_lost_it",
            "sqlite::it_can_be_renewed",
            "sqlite::nobody_takes",
            "sqlite::people_are_shown",
            "sqlite::a_lease_is_renewed",
            "sqlite::a_new_lease_ends",
            "sqlite::sagas_of_nobody",
        ],
    },
];

/// The areas of these names; all, if none is named.
pub(crate) fn chosen(names: &[&str]) -> Result<Vec<&'static Area>, String> {
    if names.is_empty() {
        return Ok(AREAS.iter().collect());
    }
    let find = |name: &&str| {
        let all = || AREAS.iter().map(|area| area.name).collect::<Vec<_>>().join(", ");
        let found = AREAS.iter().find(|area| area.name == *name);
        found.ok_or_else(|| format!("there is no area {name:?}; there are {}", all()))
    };
    names.iter().map(find).collect()
}

/// Mutates the areas, one after the other, and says whether some test noticed each mutant.
pub(crate) fn run(areas: &[&Area]) -> Result<bool, String> {
    let target = target_directory()?;
    let tool = tools::mutants(&target)?;
    let folder = target.join("mutants");
    let mut survivors = Vec::new();
    for area in areas {
        println!("\n== {}: {} ==", area.name, area.what);
        survivors.extend(mutate(area, &tool, &folder.join(area.name))?);
    }
    survivors.iter().for_each(|mutant| println!("SURVIVED {mutant}"));
    println!("{} survived", survivors.len());
    Ok(survivors.is_empty())
}

/// Mutates one area; the mutants that no test noticed. Under some the tests never end, which is noticed as well.
fn mutate(area: &Area, tool: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let mut command = program(tool, ["mutants", "--output"]);
    command.arg(folder).args(area.args).args(["--", "--"]).args(area.tests);
    match ended(command)?.code() {
        // All noticed, some not, and some under which the tests did not end.
        Some(0 | 2 | 3) => {}
        code => return Err(format!("cargo-mutants could not go through {}: {code:?}", area.name)),
    }
    let missed = fs::read_to_string(folder.join("mutants.out/missed.txt")).map_err(failed)?;
    Ok(missed.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_chosen_by_name_and_their_files_are_there() {
        assert_eq!(chosen(&[]).unwrap().len(), AREAS.len());
        assert_eq!(chosen(&["barrier"]).unwrap(), [&AREAS[1]]);
        assert!(chosen(&["barriers"]).unwrap_err().contains("there are machine, barrier"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let args = AREAS.iter().flat_map(|area| area.args);
        for file in args.filter_map(|arg| arg.strip_prefix("--file=")) {
            let (folder, _) = file.rsplit_once('/').unwrap();
            assert!(root.join(file).exists() || file.contains('*') && root.join(folder).is_dir(), "{file}");
        }
    }
}
