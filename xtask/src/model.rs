//! The model check and its mutants.

use crate::command::{cargo, run};

/// Explores the model, as `saga-model check` takes it.
pub(crate) fn check(args: &[&str]) -> Result<bool, String> {
    run_model(&[&["check"], args].concat())
}

/// Explores every mutant.
pub(crate) fn mutants() -> Result<bool, String> {
    run_model(&["mutants"])
}

/// Millions of states want an optimized build.
fn run_model(args: &[&str]) -> Result<bool, String> {
    let model = ["run", "--release", "--quiet", "--package", "saga-model", "--"];
    run(cargo(model.iter().chain(args).copied()))?;
    Ok(true)
}
