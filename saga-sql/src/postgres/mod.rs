//! The saga log, the inbox, the outbox and leases in PostgreSQL.

mod append;
mod audit;
mod config;
mod connect;
mod inbox;
mod lease;
mod leases;
mod log;
mod outbox;
mod outline;
mod read;
mod swift;
mod wake;
mod write;

pub use config::PostgresConfig;
pub use inbox::PostgresInbox;
pub use leases::PostgresLeases;
pub use log::PostgresLog;
pub use outbox::PostgresOutbox;
