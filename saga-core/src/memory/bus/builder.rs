use std::sync::Arc;

use super::broker::{Broker, Limits};
use super::faults::Faults;
use super::{Connection, MemoryBus};
use crate::memory::TokioClock;
use crate::ports::Clock;

/// Sets up a [`MemoryBus`]. Every limit has a default.
#[derive(Clone, Debug)]
#[must_use = "`build` makes the bus"]
pub struct MemoryBusBuilder {
    clock: Option<Arc<dyn Clock>>,
    faults: Faults,
    limits: Limits,
}

impl MemoryBusBuilder {
    pub(super) const fn new() -> Self {
        let limits = Limits {
            message_bytes_max: 1_048_576,
            topic_messages_max: 1_048_576,
            retained_messages_max: 1_024,
            dead_letters_max: 10_000,
        };
        Self { clock: None, faults: Faults::none(), limits }
    }

    /// The clock of retries and publishing times; a [`TokioClock`] by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What goes wrong; nothing by default.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The largest message, measured by [`Message::size_bytes`](crate::wire::Message::size_bytes); 1 MiB by default. A larger one is refused.
    pub const fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.message_bytes_max = bytes;
        self
    }

    /// How many messages of a topic may wait for one group, those waiting for a retry included; 1,048,576 by default. While a group is full,
    /// publishing to its topic waits.
    pub const fn topic_messages_max(mut self, messages: usize) -> Self {
        self.limits.topic_messages_max = messages;
        self
    }

    /// How many messages each topic of events keeps for groups that are declared later; 1,024 by default.
    pub const fn retained_messages_max(mut self, messages: usize) -> Self {
        self.limits.retained_messages_max = messages;
        self
    }

    /// How many dead letters the bus keeps; 10,000 by default. Beyond that the oldest is lost, with a warning.
    pub const fn dead_letters_max(mut self, letters: usize) -> Self {
        self.limits.dead_letters_max = letters;
        self
    }

    /// Makes the bus.
    pub fn build(self) -> MemoryBus {
        let clock = self.clock.unwrap_or_else(|| Arc::new(TokioClock::new()));
        let broker = Arc::new(Broker::new(clock, self.limits, self.faults));
        MemoryBus { connection: Arc::new(Connection::new(broker)) }
    }
}
