//! `cargo xtask test`: everything that must pass, on a fresh machine.

mod brokers;
mod budget;
mod cases;
mod chaos;
mod crash;
mod databases;
mod examples;
mod participants;
mod publish;
mod rust_version;
mod security;

use std::ops::Add;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{cargo, output, program, run as run_command};
use crate::conformance;
use crate::tools::Tools;
use crate::workspace::Workspace;

/// One thing that must hold.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    run: fn(&Context) -> Outcome,
}

/// These only build, and need long: they run one after the other beside all others, and take what those leave of the processors.
const BESIDE: [&str; 3] = ["licences", "advisories", "features"];

/// All stages, the quick ones and those that most often fail first.
pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "fmt", what: "the code is formatted", run: fmt },
    Stage { name: "budget", what: "the default dependency tree is light", run: budget::check },
    Stage { name: "rust-version", what: "no dependency needs a newer Rust", run: rust_version::check },
    Stage { name: "licences", what: "licences, bans and sources of all dependencies", run: licences },
    Stage { name: "advisories", what: "no dependency has a known vulnerability", run: advisories },
    Stage { name: "features", what: "each feature builds alone", run: features },
    Stage { name: "clippy", what: "no warning, with all features", run: clippy },
    Stage { name: "docs", what: "the documentation has no broken link", run: docs },
    Stage { name: "tests", what: "all tests, with all features", run: cases::all_features },
    Stage { name: "defaults", what: "the tests that need a feature to be off", run: cases::defaults },
    Stage { name: "model", what: "a quick model check finds nothing", run: model },
    Stage {
        name: "sim",
        what: "a simulation of two thousand seeds finds nothing, and repeats",
        run: simulation,
    },
    Stage {
        name: "mutants",
        what: "every broken rule is caught by the model or the simulation",
        run: mutants,
    },
    Stage { name: "fuzz", what: "a minute of fuzzing, all targets side by side, finds nothing", run: fuzz },
    Stage {
        name: "conformance",
        what: "every bus keeps its promises, against real servers",
        run: conformance,
    },
    Stage {
        name: "brokers",
        what: "the checkout runs over real brokers, and through their restart",
        run: brokers::check,
    },
    Stage {
        name: "participants",
        what: "the checkout as seven processes, one of them in Python, over real brokers",
        run: participants::check,
    },
    Stage {
        name: "security",
        what: "encryption and authentication, on servers that demand them",
        run: security::check,
    },
    Stage {
        name: "databases",
        what: "what is kept in real databases keeps its promises, and the tool `saga` mends a parked order there",
        run: databases::check,
    },
    Stage {
        name: "chaos",
        what: "while everything dies, nothing is lost, doubled or left half done",
        run: chaos::check,
    },
    Stage {
        name: "crash",
        what: "a process that dies at any point, and is started again, loses and doubles nothing",
        run: crash::check,
    },
    Stage { name: "examples", what: "every example runs", run: examples::check },
    Stage { name: "publish", what: "every crate could be published", run: publish::check },
];

/// What the stages share.
pub(crate) struct Context {
    workspace: Workspace,
    tools: Tools,
}

/// How a stage ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// It has cases of its own, at least one.
    Cases(Cases),
    /// It could not be run here. Neither passed nor failed, and always shown.
    NotRun(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cases {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
    /// What failed, as far as it has a name: said once more in the end.
    pub(crate) failures: Vec<String>,
}

impl Cases {
    /// One case more.
    pub(crate) fn count(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(why) => {
                println!("{name}: {why}");
                self.failed += 1;
                self.failures.push(format!("{name}: {why}"));
            }
        }
    }
}

impl Add for Cases {
    type Output = Self;

    fn add(mut self, more: Self) -> Self {
        self.failures.extend(more.failures);
        Self {
            passed: self.passed + more.passed,
            failed: self.failed + more.failed,
            ignored: self.ignored + more.ignored,
            failures: self.failures,
        }
    }
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Passed)
    }
}

/// The stages of these names; all, if none is named.
pub(crate) fn chosen(names: &[&str]) -> Result<Vec<&'static Stage>, String> {
    if names.is_empty() {
        return Ok(STAGES.iter().collect());
    }
    let find = |name: &&str| {
        STAGES.iter().find(|stage| stage.name == *name).ok_or_else(|| format!("there is no stage {name:?}"))
    };
    names.iter().map(find).collect()
}

/// Runs the stages and returns whether nothing failed.
pub(crate) fn run(stages: &[&Stage]) -> Result<bool, String> {
    let workspace = Workspace::read()?;
    let tools = Tools::new(&workspace.target_directory);
    let context = Context { workspace, tools };
    let run = |stage: &Stage| {
        println!("\n== {}: {} ==", stage.name, stage.what);
        let begun = Instant::now();
        let outcome = (stage.run)(&context);
        let line = line(stage.name, &outcome, begun.elapsed());
        println!("== {line}");
        (line, outcome)
    };
    let run_all = |stages: Vec<&Stage>| stages.into_iter().map(run).collect::<Vec<_>>();
    let (beside, others) = stages.iter().copied().partition(|stage| BESIDE.contains(&stage.name));
    let report: Vec<_> = thread::scope(|scope| {
        let beside = scope.spawn(|| run_all(beside));
        let mut report = run_all(others);
        report.extend(beside.join().expect("a stage does not panic"));
        report
    });
    println!("\n== all stages ==");
    report.iter().for_each(|(line, _)| println!("{line}"));
    let total = total(report.iter().map(|(_, outcome)| outcome));
    total.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("{} ignored", total.ignored);
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn line(name: &str, outcome: &Outcome, took: Duration) -> String {
    let said = match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::Cases(Cases { passed, failed: 0, ignored, .. }) => {
            format!("passed: {passed} cases, {ignored} ignored")
        }
        Outcome::Cases(Cases { passed, failed, ignored, .. }) => {
            format!("FAILED: {failed} cases; {passed} passed, {ignored} ignored")
        }
        Outcome::NotRun(why) => format!("not run ({why})"),
    };
    format!("{name:<13} {:>6.1} s  {said}", took.as_secs_f64())
}

fn total<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Cases {
    outcomes.fold(Cases::default(), |sum, outcome| {
        let cases = match outcome {
            Outcome::Passed => Cases { passed: 1, ..Cases::default() },
            Outcome::Failed(_) => Cases { failed: 1, ..Cases::default() },
            Outcome::Cases(cases) => cases.clone(),
            Outcome::NotRun(_) => Cases::default(),
        };
        sum + cases
    })
}

fn fmt(_: &Context) -> Outcome {
    run_command(cargo(["fmt", "--all", "--check"])).into()
}

fn clippy(_: &Context) -> Outcome {
    let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    run_command(cargo(args)).into()
}

fn docs(_: &Context) -> Outcome {
    let mut command = cargo(["doc", "--workspace", "--all-features", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run_command(command).into()
}

fn licences(context: &Context) -> Outcome {
    deny(context, &["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]).into()
}

/// The database of advisories comes from the network, apart from the check, so that a machine without it is not taken for a finding.
fn advisories(context: &Context) -> Outcome {
    let deny_path = match context.tools.deny() {
        Ok(path) => path,
        Err(why) => return Outcome::Failed(why),
    };
    if let Err(why) = output(program(deny_path, ["deny", "fetch", "db"])) {
        let last = why.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(&why);
        return Outcome::NotRun(format!("the database could not be fetched: {last}"));
    }
    deny(context, &["--workspace", "check", "--disable-fetch", "advisories"]).into()
}

fn deny(context: &Context, args: &[&str]) -> Result<(), String> {
    run_command(program(context.tools.deny()?, [&["deny"], args].concat()))
}

fn model(_: &Context) -> Outcome {
    crate::model::check(&["--quick"]).map(drop).into()
}

fn simulation(_: &Context) -> Outcome {
    crate::simulation::simulate(&["--quick"]).and_then(|_| crate::simulation::check_alike()).into()
}

/// How long the targets share the machine. Whoever changes what reads bytes runs `cargo xtask fuzz` for longer.
const FUZZ_SECONDS: u64 = 60;

fn fuzz(_: &Context) -> Outcome {
    match crate::fuzz::run(&crate::fuzz::Plan::all(FUZZ_SECONDS)) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("an input was found that is not read as it should be".to_owned()),
        Err(why) => Outcome::Failed(why),
    }
}

fn mutants(_: &Context) -> Outcome {
    match crate::simulation::mutants() {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("a broken rule was not caught".to_owned()),
        Err(why) => Outcome::Failed(why),
    }
}

fn conformance(_: &Context) -> Outcome {
    let buses: Vec<_> = conformance::BUSES.iter().collect();
    match conformance::run(&buses, &[]) {
        Err(why) => Outcome::Failed(why),
        Ok(table) if table.total("passed") == 0 => Outcome::Failed("no case was run".to_owned()),
        Ok(table) => {
            let count = |verdict| u32::try_from(table.total(verdict)).unwrap_or(u32::MAX);
            let failed = count("failed") + u32::from(!table.is_good() && count("failed") == 0);
            let failures = table.failures();
            Outcome::Cases(Cases { passed: count("passed"), failed, ignored: 0, failures })
        }
    }
}

/// All together they are built by clippy and the tests. In a folder of its own, and behind whatever else wants a processor: other stages run
/// meanwhile.
fn features(context: &Context) -> Outcome {
    let check = || {
        let hack = context.tools.hack()?;
        let mut command = program("nice".as_ref(), ["-n", "19"]);
        command.arg(hack).args(["hack", "check", "--quiet", "--each-feature", "--exclude-all-features"]);
        command.arg("--target-dir").arg(features_folder(context));
        for package in context.workspace.published() {
            command.args(["-p", &package.name]);
        }
        run_command(command)
    };
    check().into()
}

fn features_folder(context: &Context) -> PathBuf {
    context.workspace.target_directory.join("features")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_counts_once_and_cases_count_themselves() {
        let mut cases = Cases { passed: 7, failed: 1, ignored: 3, failures: Vec::new() };
        cases.count("the eighth", Err("it broke".to_owned()));
        let outcomes = [
            Outcome::Passed,
            Outcome::Failed("it broke".to_owned()),
            Outcome::NotRun("no network".to_owned()),
            Outcome::Cases(cases),
        ];
        let failures = vec!["the eighth: it broke".to_owned()];
        assert_eq!(total(outcomes.iter()), Cases { passed: 8, failed: 3, ignored: 3, failures });
    }

    #[test]
    fn stages_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), STAGES.len());
        let names: Vec<_> = chosen(&["docs", "fmt"]).unwrap().iter().map(|stage| stage.name).collect();
        assert_eq!(names, ["docs", "fmt"]);
        assert_eq!(chosen(&["docz"]).err().unwrap(), "there is no stage \"docz\"");
    }
}
