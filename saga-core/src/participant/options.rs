use std::time::Duration;

use crate::record::Retry;

/// How a participant serves one contract: its named limits. No other contract and no coordinator shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeOptions {
    /// How many of the handler's calls may run at once. Default 64.
    pub concurrency: usize,
    /// How many commands may be received and not settled, waiting ones included. Default 4,096.
    pub commands_in_flight_max: usize,
    /// How failed attempts are repeated where the saga's definition does not say. Default [`Retry::DEFAULT`].
    pub retry: Retry,
    /// For how long a command's barrier row is held while the handler runs. After that others may take it over, so it bounds how long a
    /// crash of this process delays a step. Default 30 s.
    pub claim_hold: Duration,
    /// How long before the end of its hold a handler is cut off, so that it is certainly over when the row is free. At least half of
    /// [`claim_hold`](ServeOptions::claim_hold) remains for the handler. Default 2 s.
    pub claim_margin: Duration,
    /// How long a shutdown waits for running handlers. Default 10 s.
    pub drain_max: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            concurrency: 64,
            commands_in_flight_max: 4_096,
            retry: Retry::DEFAULT,
            claim_hold: Duration::from_secs(30),
            claim_margin: Duration::from_secs(2),
            drain_max: Duration::from_secs(10),
        }
    }
}

impl ServeOptions {
    /// How long a handler may run.
    pub(super) fn time_limit(&self) -> Duration {
        self.claim_hold - self.claim_margin.min(self.claim_hold / 2)
    }
}
