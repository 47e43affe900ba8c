use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use super::erased::StepDef;
use crate::record::Digest;

/// The fingerprint of what running instances rely on: the steps in order, and of each its name, contract, topic, kind and what it
/// waits for.
///
/// Left out on purpose: durations and retries, so that tuning them orphans no running instance; closures and types, which
/// cannot be told apart. Whoever changes what a closure computes, or the shape of an input, gives the saga a new version.
///
/// Logs keep digests, so the text below must never change.
pub(super) fn of(steps: &[StepDef]) -> Digest {
    let mut text = String::new();
    for step in steps {
        // Names and topics have no spaces. Writing to a string cannot fail.
        let _ = write!(text, "{} {} {} {} after", step.name, step.contract, step.topic, step.kind);
        for earlier in &step.after {
            let _ = write!(text, " {}", earlier.0);
        }
        text.push('\n');
    }
    Digest(xxh3_64(text.as_bytes()))
}
