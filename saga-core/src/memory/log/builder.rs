use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::faults::{LogFaultSource, LogFaults};
use super::state::State;
use super::{Inner, Limits, MemoryLog};
use crate::memory::TokioClock;
use crate::ports::Clock;

/// Sets up a [`MemoryLog`]. Every limit has a default.
#[derive(Clone, Debug)]
#[must_use = "`build` makes the log"]
pub struct MemoryLogBuilder {
    clock: Option<Arc<dyn Clock>>,
    faults: LogFaults,
    limits: Limits,
    strict_storage: bool,
}

impl MemoryLogBuilder {
    pub(super) const fn new() -> Self {
        let limits = Limits { idempotency_window: Duration::from_secs(3_600), tombstones_max: 1_000_000 };
        Self { clock: None, faults: LogFaults::none(), limits, strict_storage: false }
    }

    /// The log's clock, by which sagas are woken and leases run out; a [`TokioClock`] by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// For how long a settled saga's tombstone stays, so that a start that comes again is recognised; one hour by default.
    pub const fn idempotency_window(mut self, window: Duration) -> Self {
        self.limits.idempotency_window = window;
        self
    }

    /// How many tombstones stay at most, whatever the window says; 1,000,000 by default. Beyond that the oldest goes first.
    pub const fn tombstones_max(mut self, tombstones: usize) -> Self {
        self.limits.tombstones_max = tombstones;
        self
    }

    /// What goes wrong; nothing by default.
    pub const fn faults(mut self, faults: LogFaults) -> Self {
        self.faults = faults;
        self
    }

    /// Whether each entry is written as JSON and read back when it is appended, as a log on disk would; off by default. An entry that
    /// does not come back the same is refused as [`Corrupt`](crate::ErrorKind::Corrupt).
    pub const fn strict_storage(mut self, strict: bool) -> Self {
        self.strict_storage = strict;
        self
    }

    /// Makes the log.
    pub fn build(self) -> MemoryLog {
        let inner = Inner {
            clock: self.clock.unwrap_or_else(|| Arc::new(TokioClock::new())),
            limits: self.limits,
            strict_storage: self.strict_storage,
            faults: Mutex::new(LogFaultSource::new(self.faults)),
            state: Mutex::new(State::default()),
        };
        MemoryLog { inner: Arc::new(inner) }
    }
}
