//! The cargo tools that the tests need, installed where they are missing.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::command::{cargo, output, program, run};

/// The tools, each looked for when it is first asked for.
#[derive(Debug)]
pub(crate) struct Tools {
    root: PathBuf,
    hack: Found,
    deny: Found,
}

/// Where a tool is, or why it is not there.
type Found = OnceLock<Result<PathBuf, String>>;

impl Tools {
    /// Tools that are missing, or there in another version, are installed below `target`, so that nobody's own tools change.
    pub(crate) fn new(target: &Path) -> Self {
        // Whoever has a minimal toolchain gets its missing parts; if that fails, their stages say so.
        for component in ["rustfmt", "clippy"] {
            let command = if component == "rustfmt" { "fmt" } else { component };
            if output(cargo([command, "--version"])).is_err() {
                println!("installing {component}");
                let _ = run(program(Path::new("rustup"), ["component", "add", component]));
            }
        }
        Self { root: target.join("tools"), hack: Found::new(), deny: Found::new() }
    }

    pub(crate) fn hack(&self) -> Result<&Path, String> {
        self.found(&self.hack, "cargo-hack", "0.6.46")
    }

    pub(crate) fn deny(&self) -> Result<&Path, String> {
        self.found(&self.deny, "cargo-deny", "0.20.2")
    }

    fn found<'a>(&self, place: &'a Found, name: &str, version: &str) -> Result<&'a Path, String> {
        place.get_or_init(|| find(name, version, &self.root)).as_deref().map_err(Clone::clone)
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
    // Not optimized: that would take longer than the tool is used.
    let mut install = cargo(["install", "--debug", "--locked", "--version", version, name, "--root"]);
    // Nor debugged; and not where others build meanwhile, who would have to wait for each other.
    install.arg(root).env("CARGO_PROFILE_DEV_DEBUG", "false").env_remove("CARGO_TARGET_DIR");
    run(install)?;
    if is(&ours, name, version) { Ok(ours) } else { Err(format!("{name} {version} does not run")) }
}

/// Whether the program there is this tool in this version.
fn is(place: &Path, name: &str, version: &str) -> bool {
    let subcommand = name.strip_prefix("cargo-").unwrap_or(name);
    output(program(place, [subcommand, "--version"]))
        .is_ok_and(|text| text.split_whitespace().take(2).eq([name, version]))
}
