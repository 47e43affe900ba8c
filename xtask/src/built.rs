//! What several stages run, built as the tests are: nothing is built once more for other features.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::command::{cargo, run_lines};

/// Everything, with every feature.
pub(crate) const ALL: [&str; 2] = ["--workspace", "--all-features"];

/// A program that cargo has built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// The folder's name of its package.
    package: String,
    name: String,
    pub(crate) path: PathBuf,
}

/// The checkout.
pub(crate) fn checkout(is_release: bool) -> Result<PathBuf, String> {
    let profile = if is_release { &["--release"][..] } else { &[] };
    let built = build(&[&["build", "--example", "checkout"], profile].concat())?;
    Ok(find(&built, "checkout", "checkout")?.path.clone())
}

/// A program of a package of ours.
pub(crate) fn binary(package: &str, name: &str) -> Result<PathBuf, String> {
    // With an example beside it what the tests depend on counts, as it does for them.
    let built = build(&["build", "--bin", name, "--example", "checkout"])?;
    Ok(find(&built, package, name)?.path.clone())
}

/// The model or the simulation, which go through millions of states: optimized, and one build for both.
pub(crate) fn optimized(package: &str, name: &str) -> Result<PathBuf, String> {
    let built = build(&["build", "--release", "--bin", "saga-model", "--bin", "saga-sim"])?;
    Ok(find(&built, package, name)?.path.clone())
}

/// A program of a package of ours, whose crates alone are compiled in another way.
pub(crate) fn instrumented(
    package: &str,
    name: &str,
    how: impl FnOnce(&mut Command),
) -> Result<PathBuf, String> {
    // Alone: whatever else is linked lacks what counts.
    let built = build_as(&["build", "--bin", name], how)?;
    Ok(find(&built, package, name)?.path.clone())
}

/// The test programs of these names, in whichever package.
pub(crate) fn tests(names: &[&str]) -> Result<Vec<Built>, String> {
    let names = names.iter().flat_map(|name| ["--test", name]);
    build(&["test", "--no-run"].into_iter().chain(names).collect::<Vec<_>>())
}

/// The one of this package and name.
pub(crate) fn find<'a>(built: &'a [Built], package: &str, name: &str) -> Result<&'a Built, String> {
    built
        .iter()
        .find(|built| built.package == package && built.name == name)
        .ok_or_else(|| format!("cargo did not build {name} of {package}"))
}

fn build(args: &[&str]) -> Result<Vec<Built>, String> {
    build_as(args, |_| {})
}

fn build_as(args: &[&str], how: impl FnOnce(&mut Command)) -> Result<Vec<Built>, String> {
    let mut built = Vec::new();
    let mut command = cargo([args, &ALL, &["--message-format=json-render-diagnostics"]].concat());
    how(&mut command);
    let succeeded = run_lines(command, |line| built.extend(read(line)))?;
    if succeeded { Ok(built) } else { Err(format!("cargo {} failed", args.join(" "))) }
}

#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Reads a message of cargo, if it tells of a program.
fn read(line: &str) -> Option<Built> {
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let package = artifact.manifest_path.parent()?.file_name()?.to_string_lossy().into_owned();
    Some(Built { package, name: artifact.target.name, path: artifact.executable? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let artifact = r#"{"reason":"compiler-artifact","manifest_path":"/w/saga-nats/Cargo.toml","target":{"name":"conformance"},"executable":"/t/c-1"}"#;
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/w/saga-nats/Cargo.toml","target":{"name":"saga_nats"},"executable":null}"#;
        let finished = r#"{"reason":"build-finished","success":true}"#;
        let built: Vec<_> = [artifact, library, finished].into_iter().filter_map(read).collect();
        assert_eq!(built.len(), 1);
        assert_eq!(find(&built, "saga-nats", "conformance").unwrap().path, PathBuf::from("/t/c-1"));
        assert!(find(&built, "saga-kafka", "conformance").unwrap_err().contains("saga-kafka"));
    }
}
