//! The tests, counted by what cargo says of them.

use std::process::Command;

use super::{Cases, Context, Outcome};
use crate::built;
use crate::command::{cargo, program, run_lines};

/// The tests of what a feature changes by being off. The run with all features cannot have them.
const WITH_DEFAULTS: [&[&str]; 3] = [
    &["-p", "saga-rs", "--lib"],
    &["-p", "saga-core", "--test", "compile_fail"],
    &["-p", "saga-webhook", "--test", "webhook"],
];

/// Runs a package's tests in `tests/` with all features, those that need a server too; the variables say where it is.
pub(super) fn with_servers(
    context: &Context,
    package: &str,
    variables: &[(String, String)],
) -> Result<Cases, String> {
    let names = context.workspace.tests_of(package);
    let programs = built::tests(&names)?;
    names.iter().try_fold(Cases::default(), |sum, name| {
        let suite = built::find(&programs, package, name)?;
        Ok(sum + count(program(&suite.path, ["--include-ignored"]), variables)?)
    })
}

pub(super) fn all_features(_: &Context) -> Outcome {
    outcome(cargo_test(&built::ALL))
}

/// One crate at a time: cargo gives crates that are built together each other's features.
pub(super) fn defaults(_: &Context) -> Outcome {
    let runs = WITH_DEFAULTS.map(cargo_test);
    outcome(runs.into_iter().try_fold(Cases::default(), |sum, run| run.map(|cases| sum + cases)))
}

fn outcome(ran: Result<Cases, String>) -> Outcome {
    match ran {
        Err(why) => Outcome::Failed(why),
        Ok(Cases { passed: 0, failed: 0, .. }) => Outcome::Failed("no case was run".to_owned()),
        Ok(cases) => Outcome::Cases(cases),
    }
}

fn cargo_test(args: &[&str]) -> Result<Cases, String> {
    count(cargo([&["test", "--no-fail-fast"], args].concat()), &[])
}

/// Counts the cases while they run, with these variables. A failure that is no case's, such as a crash, is an error.
pub(super) fn count(mut command: Command, variables: &[(String, String)]) -> Result<Cases, String> {
    let mut cases = Cases::default();
    let what = command.get_program().to_string_lossy().into_owned();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let succeeded = run_lines(command, |line| {
        println!("{line}");
        cases = std::mem::take(&mut cases) + counted(line).unwrap_or_default();
        cases.failures.extend(failed(line));
    })?;
    if succeeded || cases.failed > 0 {
        return Ok(cases);
    }
    Err(format!("{what} failed, though none of the {} cases it told of did", cases.passed))
}

/// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`.
fn counted(line: &str) -> Option<Cases> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count =
        |what: &str| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse::<u32>().ok());
    let (passed, failed, ignored) = (count("passed")?, count("failed")?, count("ignored")?);
    Some(Cases { passed, failed, ignored, failures: Vec::new() })
}

/// Reads `test tests::the_name ... FAILED`.
fn failed(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_cargo_are_read() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.02s";
        assert_eq!(counted(ok), Some(Cases { passed: 12, ignored: 1, ..Cases::default() }));
        let bad =
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(counted(bad), Some(Cases { passed: 3, failed: 2, ..Cases::default() }));
        assert_eq!(counted("test tests::the_test_result ... ok"), None);
        assert_eq!(counted("running 3 tests"), None);
        assert_eq!(failed("test tests::a ... FAILED").as_deref(), Some("tests::a"));
        assert_eq!(failed("test tests::a ... ok"), None);
    }
}
