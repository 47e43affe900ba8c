//! What a user gets who switches no feature on.

use std::collections::BTreeSet;

use super::{Context, Outcome};
use crate::command::{cargo, output};

const CRATES_MAX: usize = 60;

/// The default tree of the facade is short, and has neither TLS nor a C build in it.
pub(super) fn check(_: &Context) -> Outcome {
    let check = || {
        let normal = tree("normal")?;
        let heavy: Vec<String> = tree("normal,build")?.into_iter().filter(|line| is_heavy(line)).collect();
        println!("{} crates of at most {CRATES_MAX}", normal.len());
        if normal.len() > CRATES_MAX {
            let list = normal.into_iter().collect::<Vec<_>>().join("\n  ");
            return Err(format!("the default dependency tree has more than {CRATES_MAX} crates:\n  {list}"));
        }
        if heavy.is_empty() { Ok(()) } else { Err(format!("the default tree has {}", heavy.join(", "))) }
    };
    check().into()
}

/// The crates, as `name vVersion`. The target is fixed so that every machine counts the same.
fn tree(edges: &str) -> Result<BTreeSet<String>, String> {
    let args = ["tree", "-p", "saga-rs", "-e", edges, "--prefix=none", "--target=x86_64-unknown-linux-gnu"];
    let text = output(cargo(args))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(name_and_version).collect())
}

fn name_and_version(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Whether the crate brings TLS or C.
fn is_heavy(line: &str) -> bool {
    let name = line.split_whitespace().next().unwrap_or_default();
    let exact = ["aws-lc-rs", "cc", "cmake", "native-tls", "ring"];
    name.ends_with("-sys")
        || name.starts_with("openssl")
        || name.starts_with("rustls")
        || exact.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_crates_are_known_by_name() {
        let heavy = [
            "ring v0.17.14",
            "librdkafka-sys v4.0.0",
            "cc v1.2.0",
            "rustls-webpki v0.103.0",
            "openssl v0.10.0",
        ];
        assert!(heavy.into_iter().all(is_heavy));
        let light = ["tokio v1.54.1", "cc-lite v1.0.0", "strings v0.1.0", "system v2.0.0"];
        assert!(!light.into_iter().any(is_heavy));
    }

    #[test]
    fn repeats_in_the_tree_are_one_crate() {
        let shown = ["syn v3.0.9", "syn v3.0.9 (*)", "serde_derive v1.0.229 (proc-macro)"];
        let crates: BTreeSet<String> = shown.into_iter().map(name_and_version).collect();
        assert_eq!(crates.into_iter().collect::<Vec<_>>(), ["serde_derive v1.0.229", "syn v3.0.9"]);
    }
}
