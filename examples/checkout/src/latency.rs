//! How long the orders took: percentiles of any number of times, in a fixed amount of memory.

use std::time::Duration;

/// Buckets to each doubling: a percentile is right to about 1%.
const BUCKETS_PER_DOUBLING: usize = 64;
/// One microsecond to over an hour.
const DOUBLINGS: usize = 32;

/// Counts of times, in buckets that grow with the time.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; DOUBLINGS * BUCKETS_PER_DOUBLING], count: 0 }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, time: Duration) {
        let micros = time.as_secs_f64() * 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least zero, and capped"
        )]
        let bucket = (micros.max(1.0).log2() * BUCKETS_PER_DOUBLING as f64) as usize;
        let last = self.counts.len() - 1;
        self.counts[bucket.min(last)] += 1;
        self.count += 1;
    }

    /// The time within which this share of them was, for example 0.99; zero when there were none.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut left = share * self.count as f64;
        for (bucket, count) in self.counts.iter().enumerate() {
            left -= *count as f64;
            if *count > 0 && left <= 0.0 {
                let middle = (bucket as f64 + 0.5) / BUCKETS_PER_DOUBLING as f64;
                return Duration::from_secs_f64(middle.exp2() / 1e6);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_hundredth() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.5), Duration::ZERO);
        (1..=1_000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (0.001, 1.0)] {
            let found = latencies.percentile(share).as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.015, "{share}: {found} ms, not {ms}");
        }
    }

    #[test]
    fn the_shortest_and_the_longest_time_have_a_bucket() {
        let mut latencies = Latencies::default();
        latencies.add(Duration::ZERO);
        latencies.add(Duration::MAX);
        assert!(latencies.percentile(1.0) > Duration::from_secs(3_600));
    }
}
