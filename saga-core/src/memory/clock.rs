use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ports::Clock;
use crate::record::Timestamp;

/// The [`Clock`] of tokio's runtime: it starts at a moment and then only counts what passes.
///
/// Setting the wall clock does not move it. Under tokio's paused time it stands still and leaps with it, so that an hour takes no
/// time in a test. Clocks that are made one after the other on one machine show the same time, so that what happens later by one of them
/// is not earlier by another.
#[derive(Clone, Debug)]
pub struct TokioClock {
    /// Since 1970, finer than a [`Timestamp`].
    start: Duration,
    started: Instant,
}

impl TokioClock {
    /// A clock that starts at the wall clock's present moment.
    pub fn new() -> Self {
        let (start, started) = one_moment();
        Self { start, started }
    }

    /// A clock that starts at `start`, for runs that must repeat.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start: Duration::from_millis(start.as_millis()), started: Instant::now() }
    }
}

/// The wall clock and tokio's at one moment. A thread that loses its processor between the two readings would be late by that for as long as
/// the clock lives, so the closest of some pairs counts.
fn one_moment() -> (Duration, Instant) {
    const CLOSE: Duration = Duration::from_micros(50);
    const TRIES: u32 = 20;
    let read = || {
        let before = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (before.elapsed(), wall, before)
    };
    let mut closest = read();
    for _ in 1..TRIES {
        if closest.0 <= CLOSE {
            break;
        }
        let next = read();
        if next.0 < closest.0 {
            closest = next;
        }
    }
    (closest.1, closest.2)
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.start + self.started.elapsed())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clocks_made_one_after_the_other_agree() {
        let clocks: Vec<_> = (0..200).map(|_| TokioClock::new()).collect();
        let shown: Vec<_> = clocks.iter().map(Clock::now).collect();
        let (first, last) = (shown.iter().min().unwrap(), shown.iter().max().unwrap());
        // Reading them all takes time, too.
        assert!(last.since(*first) <= Duration::from_millis(5), "{first:?} to {last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn follows_virtual_time() {
        let clock = TokioClock::starting_at(Timestamp::from_millis(5));
        assert_eq!(clock.now(), Timestamp::from_millis(5));
        clock.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(3_600_005));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(clock.clone().now(), Timestamp::from_millis(3_600_007));
    }

    #[tokio::test]
    async fn starts_at_the_wall_clock() {
        let wall = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            Timestamp::default().after(since)
        };
        let before = wall();
        let now = TokioClock::new().now();
        assert!(before <= now, "{before} {now}");
        assert!(now.since(before) < Duration::from_secs(60), "{before} {now}");
    }
}
