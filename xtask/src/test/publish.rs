//! Whether the crates could be published as they are.

use std::fs;
use std::io::ErrorKind;

use super::{Context, Outcome};
use crate::command::{cargo, output, program, run};
use crate::workspace::Package;

pub(super) fn check(context: &Context) -> Outcome {
    let missing: Vec<String> = context.workspace.published().flat_map(missing).collect();
    if !missing.is_empty() {
        return Outcome::Failed(missing.join("; "));
    }
    let checked = pack(context).and_then(|()| build(context));
    checked.into()
}

/// Packs every crate.
fn pack(context: &Context) -> Result<(), String> {
    let mut command = cargo(["package", "--workspace", "--no-verify"]);
    for package in context.workspace.members().filter(|member| !member.is_published()) {
        command.args(["--exclude", &package.name]);
    }
    if is_dirty() {
        println!("there are uncommitted changes, so this shows less than a clean clone would");
        command.arg("--allow-dirty");
    }
    run(command)
}

/// Builds what was packed, with nothing else there. Not by `cargo publish --dry-run`, which would build every dependency anew for every crate.
fn build(context: &Context) -> Result<(), String> {
    let target = &context.workspace.target_directory;
    let folder = target.join("packed");
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(told(error)),
        _ => fs::create_dir_all(&folder).map_err(told)?,
    }
    let (mut members, mut patches) = (String::new(), String::new());
    for package in context.workspace.published() {
        let name = format!("{}-{}", package.name, package.version);
        let archive = target.join("package").join(format!("{name}.crate"));
        run(program("tar".as_ref(), ["-xzf", &archive.to_string_lossy(), "-C", &folder.to_string_lossy()]))?;
        members += &format!("{name:?}, ");
        patches += &format!("{} = {{ path = {name:?} }}\n", package.name);
    }
    // The same profiles, which end the manifest: with others, every dependency would be built anew.
    let own = fs::read_to_string("Cargo.toml").map_err(told)?;
    let profiles = own.find("[profile.").map_or("", |at| &own[at..]);
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n{profiles}"
    );
    let path = folder.join("Cargo.toml");
    fs::write(&path, manifest).map_err(told)?;
    fs::copy("Cargo.lock", folder.join("Cargo.lock")).map_err(told)?;
    let mut command = cargo(["check", "--workspace", "--all-features", "--manifest-path"]);
    // What a user would build is there already, from the look at each feature.
    command.arg(path).arg("--target-dir").arg(super::features_folder(context));
    run(command)
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
