use std::time::Duration;

use crate::random::SplitMix64;
use crate::record::RunId;

/// Exponential waits between attempts to reach a broker, up to a cap and without end. Each is drawn between half of its length and all
/// of it, so that many clients do not come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    /// From the first wait on: most never wait.
    random: Option<SplitMix64>,
}

impl Backoff {
    /// Waits from about `first` on, doubled each time, never longer than `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first, random: None }
    }

    /// How long to wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2);
        let half_us = u64::try_from(whole.as_micros() / 2).unwrap_or(u64::MAX);
        let random = self.random.get_or_insert_with(|| SplitMix64::new(RunId::random().as_u128() as u64));
        Duration::from_micros(half_us) + Duration::from_micros(random.below(half_us.max(1)))
    }

    /// An attempt has succeeded: the next wait is short again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_begin_anew() {
        let (first, max) = (Duration::from_millis(100), Duration::from_millis(1_000));
        let mut backoff = Backoff::new(first, max);
        for whole in [100, 200, 400, 800, 1_000, 1_000] {
            let (waited, whole) = (backoff.wait(), Duration::from_millis(whole));
            assert!(whole / 2 <= waited && waited <= whole, "{waited:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= first);
    }
}
