//! The saga log in a SQLite file of its own; the inbox, the outbox and leases in the file that has the user's own tables.

mod append;
mod audit;
mod config;
mod inbox;
mod lease;
mod leases;
mod log;
mod outbox;
mod pool;
mod read;
mod wake;
mod writer;

pub use config::{SqliteLogConfig, Synchronous};
pub use inbox::{SqliteInbox, SqliteInboxConfig};
pub use leases::SqliteLeases;
pub use log::SqliteLog;
pub use outbox::SqliteOutbox;
