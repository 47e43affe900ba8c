//! What cargo knows of this workspace.

use std::path::PathBuf;

use serde::Deserialize;

use crate::command;

/// The part of `cargo metadata` that is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) resolve: Resolve,
    pub(crate) target_directory: PathBuf,
    workspace_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<PathBuf>,
    pub(crate) repository: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    /// Where it may be published; `None` means anywhere, an empty list nowhere.
    publish: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<Dep>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dep {
    pub(crate) pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Debug, Deserialize)]
struct DepKind {
    kind: Option<String>,
}

/// Where cargo builds. A program that runs from there knows it without asking, so that the servers' verbs are quick.
pub(crate) fn target_directory() -> Result<PathBuf, String> {
    let program = command::ourselves()?;
    match program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()) {
        Some(target) => Ok(target.to_owned()),
        None => Workspace::read().map(|workspace| workspace.target_directory),
    }
}

impl Workspace {
    /// Asks cargo, with all features on.
    pub(crate) fn read() -> Result<Self, String> {
        let text = command::output(command::cargo(["metadata", "--format-version=1", "--all-features"]))?;
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata cannot be read: {error}"))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The names of the test programs in a member's `tests/`.
    pub(crate) fn tests_of(&self, package: &str) -> Vec<&str> {
        let of_package = self.members().filter(|member| member.name == package);
        let tests = of_package.flat_map(|member| &member.targets).filter(|target| target.kind == ["test"]);
        tests.map(|target| target.name.as_str()).collect()
    }

    /// The members that go to crates.io.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.members().filter(|package| package.is_published())
    }
}

impl Package {
    /// Whether it goes to crates.io.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|places| !places.is_empty())
    }
}

impl Dep {
    /// Whether users build it, too: it is not only for our own tests.
    pub(crate) fn is_shipped(&self) -> bool {
        self.dep_kinds.iter().any(|dep| dep.kind.as_deref() != Some("dev"))
    }
}
