//! Whether the crates could be published as they are.

use super::{Context, Outcome};
use crate::command::{cargo, output, program, run};
use crate::workspace::Package;

pub(super) fn check(context: &Context) -> Outcome {
    let missing: Vec<String> = context.workspace.published().flat_map(missing).collect();
    if !missing.is_empty() {
        return Outcome::Failed(missing.join("; "));
    }
    let mut command = cargo(["publish", "--workspace", "--dry-run"]);
    if is_dirty() {
        println!("there are uncommitted changes, so this shows less than a clean clone would");
        command.arg("--allow-dirty");
    }
    run(command).into()
}

/// What crates.io or a reader of the crate's page would miss.
fn missing(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder");
    let has_file = |name: &str| folder.join(name).is_file();
    let has_readme = package.readme.as_ref().is_some_and(|readme| folder.join(readme).is_file());
    let wanted = [
        ("a description", package.description.is_some()),
        ("a license", package.license.is_some()),
        ("a repository", package.repository.is_some()),
        ("its readme", has_readme),
        ("LICENSE-MIT", has_file("LICENSE-MIT")),
        ("LICENSE-APACHE", has_file("LICENSE-APACHE")),
    ];
    let missing = wanted.into_iter().filter(|(_, there)| !there);
    missing.map(|(what, _)| format!("{} lacks {what}", package.name)).collect()
}

/// Outside a repository nothing can be told to be clean.
fn is_dirty() -> bool {
    output(program("git".as_ref(), ["status", "--porcelain"])).is_ok_and(|changes| !changes.is_empty())
}
