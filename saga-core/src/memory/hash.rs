use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes the short texts that topics and sagas are found by, several times faster than the standard hasher. The seed is random, since
/// keys come from outside; nothing may depend on the order of such a map.
#[derive(Clone, Debug)]
pub(crate) struct FastHash {
    seed: u64,
}

impl FastHash {
    /// For runs that must repeat: maps that were filled alike are passed over alike.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self { seed }
    }
}

impl Default for FastHash {
    fn default() -> Self {
        Self { seed: RandomState::new().build_hasher().finish() }
    }
}

impl BuildHasher for FastHash {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher(self.seed)
    }
}

#[derive(Debug)]
pub(crate) struct FastHasher(u64);

impl FastHasher {
    /// Folds a number in; the constant is odd and has no pattern.
    const fn fold(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, n: u8) {
        self.fold(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.fold(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.fold(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }

    fn finish(&self) -> u64 {
        // A multiplication leaves the low bits weak, and a map uses them.
        self.0 ^ (self.0 >> 32)
    }
}
