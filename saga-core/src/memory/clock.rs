use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ports::Clock;
use crate::record::Timestamp;

/// The [`Clock`] of tokio's runtime: it starts at a moment and then only counts what passes.
///
/// Setting the wall clock does not move it. Under tokio's paused time it stands still and leaps with it, so that an hour takes no
/// time in a test.
#[derive(Clone, Debug)]
pub struct TokioClock {
    start: Timestamp,
    started: Instant,
}

impl TokioClock {
    /// A clock that starts at the wall clock's present moment.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(Timestamp::default().after(since_epoch))
    }

    /// A clock that starts at `start`, for runs that must repeat.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, started: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.after(self.started.elapsed())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
