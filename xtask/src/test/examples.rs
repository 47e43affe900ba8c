//! The examples, run as a user runs them.

use super::{Cases, Context, Outcome};
use crate::command::{cargo, run};
use crate::workspace::{Package, Target};

/// Runs every example of every member; each must end with exit code 0.
pub(super) fn check(context: &Context) -> Outcome {
    let mut cases = Cases::default();
    for package in context.workspace.members() {
        for example in package.targets.iter().filter(|target| target.kind == ["example"]) {
            cases.count(&example.name, run_example(package, example));
        }
    }
    if cases == Cases::default() {
        Outcome::Failed("there is no example".to_owned())
    } else {
        Outcome::Cases(cases)
    }
}

fn run_example(package: &Package, example: &Target) -> Result<(), String> {
    let mut command = cargo(["run", "--quiet", "-p", &package.name, "--example", &example.name]);
    if !example.required_features.is_empty() {
        command.args(["--features", &example.required_features.join(",")]);
    }
    run(command)
}
