//! Clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga_core::Timestamp;
use saga_core::memory::TokioClock;
use saga_core::ports::Clock;

use crate::process::{Edge, Port, Process};

/// The clock of a process: it stands still with it.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) process: Arc<Process>,
    pub(crate) clock: TokioClock,
    /// How far it is off, as the clocks of different machines are.
    pub(crate) skew_ms: i64,
}

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis().saturating_add_signed(self.skew_ms))
    }

    async fn sleep(&self, duration: Duration) {
        self.process.pass(Port::Sleep, Edge::Before).await;
        self.clock.sleep(duration).await;
        self.process.pass(Port::Sleep, Edge::After).await;
    }
}

/// The saga log's clock, which somebody sets.
#[derive(Debug)]
pub(crate) struct LeapingClock {
    clock: TokioClock,
    offset_ms: AtomicI64,
}

impl LeapingClock {
    pub(crate) const fn new(clock: TokioClock) -> Self {
        Self { clock, offset_ms: AtomicI64::new(0) }
    }

    pub(crate) fn leap(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    pub(crate) fn set_right(&self) {
        self.offset_ms.store(0, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for LeapingClock {
    fn now(&self) -> Timestamp {
        let ms = self.clock.now().as_millis();
        Timestamp::from_millis(ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed)))
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
