//! What happened, in order: the same bytes for the same seed.

use std::hash::Hasher;
use std::sync::Mutex;

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::world::lock;

/// Writes a run down. Nobody pays for lines that nobody wants.
pub(crate) struct Trace {
    begun: Instant,
    wanted: Wanted,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    digest: Xxh3,
    kept: Vec<String>,
}

/// How much of a trace is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    Digest,
    Lines,
}

impl Trace {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { begun: Instant::now(), wanted, lines: Mutex::default() }
    }

    pub(crate) fn say(&self, who: &str, what: impl FnOnce() -> String) {
        if self.wanted == Wanted::Nothing {
            return;
        }
        let at = self.begun.elapsed();
        let line = format!("{:>12.3} {who:<6} {}", at.as_secs_f64(), what());
        let mut lines = lock(&self.lines);
        lines.digest.write(line.as_bytes());
        lines.digest.write(b"\n");
        if self.wanted == Wanted::Lines {
            lines.kept.push(line);
        }
    }

    /// A fingerprint of all lines.
    pub(crate) fn digest(&self) -> u64 {
        lock(&self.lines).digest.finish()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.lines).kept)
    }
}
