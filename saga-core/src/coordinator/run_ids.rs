use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::record::RunId;

/// Where a coordinator's run ids come from.
#[derive(Debug)]
pub(super) struct RunIds {
    seed: Option<u64>,
    drawn: AtomicU64,
}

impl RunIds {
    pub(super) const fn new(seed: Option<u64>) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    pub(super) fn draw(&self) -> RunId {
        let Some(seed) = self.seed else { return RunId::random() };
        let nth = self.drawn.fetch_add(1, Ordering::Relaxed);
        RunId::from_u128(xxh3_128_with_seed(&nth.to_le_bytes(), seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_nothing_else_does() {
        let draw = |seed| {
            let ids = RunIds::new(seed);
            [ids.draw(), ids.draw()]
        };
        assert_eq!(draw(Some(7)), draw(Some(7)));
        assert_ne!(draw(Some(7)), draw(Some(8)));
        assert_ne!(draw(Some(7))[0], draw(Some(7))[1]);
        assert_ne!(draw(None), draw(None));
    }
}
