//! The bus that `--bus` names, and the port for looking into it.

use std::sync::Arc;

use saga::Error;
use saga::memory::MemoryBus;
use saga::ports::{BusAdmin, EventBus};

/// The bus of a run.
#[derive(Clone)]
pub(crate) struct Bus {
    pub(crate) events: Arc<dyn EventBus>,
    pub(crate) admin: Arc<dyn BusAdmin>,
    /// Whether others can be on it, in other processes.
    pub(crate) is_shared: bool,
}

/// The URL when no `--bus` is given.
pub(crate) const MEMORY: &str = "memory:";

/// How many dead letters the in-memory bus keeps, and are counted on any; of more, the newest.
pub(crate) const DEAD_LETTERS_MAX: usize = 10_000;

impl Bus {
    /// Connects. Swapping the broker is another URL, and nothing else.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        if url == MEMORY {
            return Ok(Self::in_memory(&MemoryBus::builder().dead_letters_max(DEAD_LETTERS_MAX).build()));
        }
        Ok(Self { events: saga::connect(url).await?, admin: saga::admin(url).await?, is_shared: true })
    }

    pub(crate) fn in_memory(bus: &MemoryBus) -> Self {
        Self { events: Arc::new(bus.clone()), admin: Arc::new(bus.clone()), is_shared: false }
    }
}
