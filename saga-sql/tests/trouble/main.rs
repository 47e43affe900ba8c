//! What a database can be in: damaged, newer, full, gone. PostgreSQL's cases are ignored unless `cargo xtask test` runs them, which starts
//! a server.

#[cfg(all(feature = "sqlite", unix))]
mod full;
#[cfg(feature = "postgres")]
mod postgres;
mod sagas;
#[cfg(feature = "sqlite")]
mod sqlite;
