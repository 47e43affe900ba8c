//! How long is measured.

use std::time::Duration;

/// A figure is the median of an odd number of rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Of one run.
    pub(crate) time: Duration,
    /// Through the bus, in one run.
    pub(crate) messages: u64,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 5, time: Duration::from_secs(3), messages: 50_000 };
    /// Where there are many figures.
    pub(crate) const GRID: Self = Self { rounds: 3, time: Duration::from_secs(2), ..Self::FULL };
    /// Shows that it works. Its figures say little.
    pub(crate) const QUICK: Self = Self { rounds: 1, time: Duration::from_secs(1), messages: 5_000 };
}
