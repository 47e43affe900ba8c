//! Every seed, once: what was found stays found, and nothing in the corpus is without a target. One test alone, since memory is counted.

use std::collections::BTreeSet;
use std::path::Path;

use saga_fuzz::{TARGETS, check, find};

#[test]
fn every_seed_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut seen = BTreeSet::new();
    for folder in std::fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let target = find(&name).unwrap_or_else(|| panic!("there is no target {name}"));
        for seed in std::fs::read_dir(folder.path()).unwrap() {
            let seed = seed.unwrap().path();
            println!("{}", seed.display());
            check(target, &std::fs::read(&seed).unwrap());
            seen.insert(target.name);
        }
    }
    let all: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(seen, all, "a target without seeds");
}
