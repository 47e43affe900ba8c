//! Chance: every draw depends on the seed and on what it is for, and on no other draw. So a plan that loses a fault keeps the rest of its luck.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use fastrand::Rng;
use xxhash_rust::xxh3::Xxh3;

/// Numbers for one purpose.
pub(crate) fn chance(seed: u64, purpose: impl Hash) -> Rng {
    let mut hasher = Xxh3::with_seed(seed);
    purpose.hash(&mut hasher);
    Rng::with_seed(hasher.finish())
}

/// True so many times in a thousand.
pub(crate) fn happens(rng: &mut Rng, per_mille: u32) -> bool {
    rng.u32(0..1_000) < per_mille
}

/// Whole milliseconds, both ends included.
pub(crate) fn between(rng: &mut Rng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(rng.u64(from_ms..=to_ms))
}

/// One of these.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}
