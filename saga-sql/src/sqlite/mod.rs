//! The saga log and the inbox in SQLite, each in a file of its own.

mod append;
mod config;
mod inbox;
mod lease;
mod log;
mod program;
mod read;
mod wake;
mod writer;

pub use config::{SqliteLogConfig, Synchronous};
pub use inbox::{SqliteInbox, SqliteInboxConfig};
pub use log::SqliteLog;
