//! The saga log and the inbox in PostgreSQL.

mod append;
mod config;
mod connect;
mod inbox;
mod lease;
mod log;
mod read;
mod wake;
mod write;

pub use config::PostgresConfig;
pub use inbox::PostgresInbox;
pub use log::PostgresLog;
