//! The model check.

use std::path::PathBuf;

use crate::built;
use crate::command::{program, run};

/// Explores the model, as `saga-model check` takes it.
pub(crate) fn check(args: &[&str]) -> Result<bool, String> {
    run(program(&checker()?, ["check"].iter().chain(args)))?;
    Ok(true)
}

pub(crate) fn checker() -> Result<PathBuf, String> {
    built::optimized("model", "saga-model")
}
