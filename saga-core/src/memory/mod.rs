//! The in-memory adapters: as weak as the weakest promise allows, as strict as the strictest.

mod inbox;

pub use inbox::{InboxLimits, MemoryInbox};
