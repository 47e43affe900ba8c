//! The cargo tools that the tests need, installed where they are missing.

use std::path::{Path, PathBuf};

use crate::command::{cargo, output, program, run};

/// Where the tools are, or why one is not there.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) hack: Result<PathBuf, String>,
    pub(crate) deny: Result<PathBuf, String>,
}

impl Tools {
    /// Finds the tools, and installs those that are missing or of another version below `target`, so that nobody's own tools change.
    pub(crate) fn ready(target: &Path) -> Self {
        // Whoever has a minimal toolchain gets its missing parts; if that fails, their stages say so.
        for component in ["rustfmt", "clippy"] {
            let command = if component == "rustfmt" { "fmt" } else { component };
            if output(cargo([command, "--version"])).is_err() {
                println!("installing {component}");
                let _ = run(program(Path::new("rustup"), ["component", "add", component]));
            }
        }
        let root = target.join("tools");
        Self { hack: find("cargo-hack", "0.6.46", &root), deny: find("cargo-deny", "0.20.2", &root) }
    }
}

/// Only those who ask for mutants of the source need it.
pub(crate) fn mutants(target: &Path) -> Result<PathBuf, String> {
    find("cargo-mutants", "27.1.0", &target.join("tools"))
}

fn find(name: &str, version: &str, root: &Path) -> Result<PathBuf, String> {
    let ours = root.join("bin").join(name);
    let places = [PathBuf::from(name), ours.clone()];
    if let Some(found) = places.into_iter().find(|place| is(place, name, version)) {
        return Ok(found);
    }
    println!("installing {name} {version}; this takes some minutes, once");
    let mut install = cargo(["install", "--locked", "--version", version, name, "--root"]);
    install.arg(root);
    run(install)?;
    if is(&ours, name, version) { Ok(ours) } else { Err(format!("{name} {version} does not run")) }
}

/// Whether the program there is this tool in this version.
fn is(place: &Path, name: &str, version: &str) -> bool {
    let subcommand = name.strip_prefix("cargo-").unwrap_or(name);
    output(program(place, [subcommand, "--version"]))
        .is_ok_and(|text| text.split_whitespace().take(2).eq([name, version]))
}
