//! Connections to the file that has the user's own tables.

use saga_core::Error;
use serde::Deserialize;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::config::{Synchronous, options, parse};
use crate::error::told;
use crate::schema::Component;
use crate::schema::sqlite::update;

/// What can stand in the URL's query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    synchronous: Synchronous,
    busy_timeout_ms: Option<u64>,
}

/// To the file that a URL names.
pub(super) fn of(url: &str) -> Result<SqlitePool, Error> {
    let (path, Settings { synchronous, busy_timeout_ms }) = parse(url)?;
    let options = options(&path, synchronous, busy_timeout_ms.unwrap_or(5_000));
    Ok(alone(options.disable_statement_logging()))
}

/// One connection, which whoever writes waits for in turn: SQLite itself would have them try again and again.
pub(super) fn alone(options: SqliteConnectOptions) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    pool.test_before_acquire(false).connect_lazy_with(options)
}

/// Makes a component's tables if they are not there.
pub(super) async fn prepare(pool: &SqlitePool, component: &Component) -> Result<(), Error> {
    let place = pool.connect_options().get_filename().display().to_string();
    let failed = |error| told(format!("the {} in {place} cannot be opened", component.name), error);
    let mut connection = pool.acquire().await.map_err(failed)?;
    update(&mut connection, component, &place).await
}
