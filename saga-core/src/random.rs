//! Pseudo-random numbers for jitter and injected faults: reproducible from a seed, never for secrets.

/// The SplitMix64 generator, by Sebastiano Vigna (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for each `stream`, so that what is drawn from one never shifts another.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        let start = Self::new(stream).draw();
        Self::new(seed ^ start)
    }

    /// The next number, all 64 bits random.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// True with this probability, between 0 and 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        let unit = (self.draw() >> 11) as f64 / STEPS;
        unit < probability
    }

    /// A number below `bound`, which is not 0. The bias of the remainder is below `bound` / 2^64.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_the_published_sequence() {
        let mut random = SplitMix64::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let mut random = SplitMix64::stream(1, 2);
        let hits = (0..100_000).filter(|_| random.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| random.chance(0.0)));
        assert!((0..1_000).all(|_| random.chance(1.0)));
        assert_ne!(SplitMix64::stream(1, 2).draw(), SplitMix64::stream(1, 3).draw());
    }
}
