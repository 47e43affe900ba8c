//! The declared minimum Rust version, against what the dependencies declare.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Outcome};
use crate::workspace::{Package, Workspace};

pub(super) fn check(context: &Context) -> Outcome {
    let problems: Vec<String> =
        context.workspace.published().flat_map(|package| newer(&context.workspace, package)).collect();
    if problems.is_empty() { Outcome::Passed } else { Outcome::Failed(problems.join("; ")) }
}

/// What the package ships with and what declares a newer Rust than the package does. What comes with another package of ours is held
/// against what that one declares: a feature may need a newer Rust than the package, and says so.
fn newer(workspace: &Workspace, package: &Package) -> Vec<String> {
    let Some(ours) = &package.rust_version else {
        return vec![format!("{} declares no rust-version", package.name)];
    };
    println!("{} {} declares Rust {ours}", package.name, package.version);
    let others = workspace.published().filter(|other| other.id != package.id);
    let shipped = shipped(workspace, &package.id, &others.map(|other| &*other.id).collect());
    let newer = |dependency: &&Package| {
        shipped.contains(dependency.id.as_str())
            && dependency.rust_version.as_ref().is_some_and(|theirs| numbers(theirs) > numbers(ours))
    };
    let told = |dependency: &Package| {
        let theirs = dependency.rust_version.as_deref().unwrap_or_default();
        format!("{} says {ours}, its {} {} needs {theirs}", package.name, dependency.name, dependency.version)
    };
    workspace.packages.iter().filter(newer).map(told).collect()
}

/// The ids of everything that a user of this package builds, on any platform, but what comes with these others.
fn shipped<'a>(workspace: &'a Workspace, root: &'a str, others: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, _> =
        workspace.resolve.nodes.iter().map(|node| (node.id.as_str(), &node.deps)).collect();
    let mut seen = BTreeSet::new();
    let mut next = vec![root];
    while let Some(id) = next.pop() {
        if !others.contains(id) && seen.insert(id) {
            let deps = nodes.get(id).into_iter().flat_map(|deps| deps.iter());
            next.extend(deps.filter(|dep| dep.is_shipped()).map(|dep| dep.pkg.as_str()));
        }
    }
    seen
}

/// `1.89` is `[1, 89, 0]`.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.100") > numbers("1.89"));
        assert!(numbers("1.89.1") > numbers("1.89"));
        assert_eq!(numbers("1.89"), numbers("1.89.0"));
    }

    #[test]
    fn a_newer_dependency_is_told_and_one_for_tests_only_is_not() {
        let package = |id: &str, rust: &str| {
            format!(
                r#"{{"id":"{id}","name":"{id}","version":"0.1.0","rust_version":"{rust}","manifest_path":"","targets":[]}}"#
            )
        };
        let json = format!(
            r#"{{"packages":[{},{},{},{}],"workspace_members":["ours"],"target_directory":"",
            "resolve":{{"nodes":[
                {{"id":"ours","deps":[{{"pkg":"old","dep_kinds":[{{"kind":null}}]}},
                                      {{"pkg":"tests","dep_kinds":[{{"kind":"dev"}}]}}]}},
                {{"id":"old","deps":[{{"pkg":"new","dep_kinds":[{{"kind":"build"}}]}}]}},
                {{"id":"new","deps":[]}},{{"id":"tests","deps":[]}}]}}}}"#,
            package("ours", "1.89"),
            package("old", "1.60"),
            package("new", "1.90.0"),
            package("tests", "1.95"),
        );
        let workspace: Workspace = serde_json::from_str(&json).unwrap();
        let problems = newer(&workspace, &workspace.packages[0]);
        assert_eq!(problems, ["ours says 1.89, its new 0.1.0 needs 1.90.0"]);
    }
}
