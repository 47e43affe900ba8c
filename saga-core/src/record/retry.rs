use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How failed attempts are repeated: after `delay_first`, then twice as long each time up to `delay_max`, each shortened at random
/// by up to a half (jitter), at most `attempts_max` attempts in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many attempts there may be, the first included; `None` means without end.
    pub attempts_max: Option<u32>,
    /// The delay after the first failed attempt.
    pub delay_first: Duration,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Retry {
    /// Five attempts, 100 ms to 10 s apart.
    pub const DEFAULT: Self = Self {
        attempts_max: Some(5),
        delay_first: Duration::from_millis(100),
        delay_max: Duration::from_secs(10),
    };

    /// One attempt only.
    pub const NEVER: Self = Self { attempts_max: Some(1), ..Self::DEFAULT };

    /// Attempts without end, 100 ms to 10 s apart.
    pub const FOREVER: Self = Self { attempts_max: None, ..Self::DEFAULT };

    /// At most `attempts` attempts, the first included.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        Self { attempts_max: Some(attempts), ..self }
    }

    /// From `first` doubling up to `max`.
    #[must_use]
    pub const fn delays(self, first: Duration, max: Duration) -> Self {
        Self { delay_first: first, delay_max: max, ..self }
    }

    /// Whether attempt number `attempt` was the last.
    pub fn is_spent(&self, attempt: u32) -> bool {
        self.attempts_max.is_some_and(|max| attempt >= max)
    }

    /// The longest delay after failed attempt number `attempt`, before jitter.
    pub fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.delay_first.saturating_mul(1 << doublings).min(self.delay_max)
    }

    /// The delay after failed attempt number `attempt`, shortened by `jitter` (any number; its value picks the cut).
    pub fn delay_with(&self, attempt: u32, jitter: u64) -> Duration {
        let full = self.delay(attempt);
        let cut = u32::try_from(jitter % 500).expect("below 500");
        full - full / 1_000 * cut
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let retry = Retry::DEFAULT.delays(Duration::from_millis(100), Duration::from_secs(1));
        let ms = |attempt| retry.delay(attempt).as_millis();
        assert_eq!([ms(1), ms(2), ms(4), ms(5), ms(4_000_000)], [100, 200, 800, 1_000, 1_000]);
        for jitter in 0..2_000 {
            let delay = retry.delay_with(2, jitter).as_millis();
            assert!((100..=200).contains(&delay), "{delay}");
        }
    }

    #[test]
    fn the_longest_delay_can_be_shortened() {
        let retry = Retry::DEFAULT.delays(Duration::MAX, Duration::MAX);
        assert!(retry.delay_with(1, 499) < Duration::MAX);
    }

    #[test]
    fn attempts_are_counted_from_one() {
        assert!(Retry::NEVER.is_spent(1));
        assert!(!Retry::DEFAULT.is_spent(4));
        assert!(Retry::DEFAULT.is_spent(5));
        assert!(!Retry::FOREVER.is_spent(u32::MAX));
    }
}
