//! The saga log and the inbox in PostgreSQL.

mod append;
mod config;
mod connect;
mod lease;
mod log;
mod read;
mod wake;
mod write;

pub use config::PostgresConfig;
pub use log::PostgresLog;
