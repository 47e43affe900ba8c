//! The in-memory adapters: for tests, for examples, and for services that need no more.
//!
//! They are as weak as the ports' promises allow and as strict as the strictest broker: what runs on them and is written against the
//! ports' contracts runs on the others. What they hold is gone with the process.

mod bus;
mod clock;
mod hash;
mod inbox;
mod log;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use bus::{FaultTopics, Faults, MemoryBus, MemoryBusBuilder};
pub use clock::TokioClock;
pub(crate) use hash::FastHash;
pub use inbox::{InboxLimits, MemoryInbox};
pub use log::{LogFaults, MemoryLog, MemoryLogBuilder};

/// Locks, also after a panic elsewhere: every holder leaves its data whole between two statements that can panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
