//! The model check.

use crate::command::{cargo, run};

/// Explores the model, as `saga-model check` takes it.
pub(crate) fn check(args: &[&str]) -> Result<bool, String> {
    // Millions of states want an optimized build.
    let model = ["run", "--release", "--quiet", "--package", "saga-model", "--", "check"];
    run(cargo(model.iter().chain(args).copied()))?;
    Ok(true)
}
