use saga_core::{Error, ErrorKind};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::Component;
use crate::error::told;

pub(crate) const LOG: Component =
    Component { name: "log", steps: &[include_str!("sqlite_log_1.sql"), include_str!("sqlite_log_2.sql")] };
pub(crate) const INBOX: Component = Component { name: "inbox", steps: &[include_str!("sqlite_inbox_1.sql")] };
pub(crate) const OUTBOX: Component =
    Component { name: "outbox", steps: &[include_str!("sqlite_outbox_1.sql")] };
pub(crate) const LEASES: Component =
    Component { name: "leases", steps: &[include_str!("sqlite_leases_1.sql")] };

/// Brings a component's tables up to date. Several processes may do so at once.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) when the file would hold a log and something else: the log has a file of its own. Otherwise as [`Component::missing`] says,
/// and when the database does not answer or cannot be written.
pub(crate) async fn update(
    connection: &mut SqliteConnection,
    component: &Component,
    place: &str,
) -> Result<(), Error> {
    let failed =
        |error| told(format!("the schema of the saga {} in {place} cannot be set up", component.name), error);
    if is_up_to_date(connection, component).await {
        return refuse_other(connection, component, place).await;
    }
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(failed)?;
    let updated = update_locked(connection, component, place).await;
    let end = if updated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sqlx::raw_sql(end).execute(&mut *connection).await.map_err(failed);
    updated.and(ended.map(drop))
}

async fn is_up_to_date(connection: &mut SqliteConnection, component: &Component) -> bool {
    // Without the table this fails, and the table is made.
    version(connection, component).await.is_ok_and(|version| version == Some(component.latest()))
}

async fn version(connection: &mut SqliteConnection, component: &Component) -> sqlx::Result<Option<i64>> {
    let query = sqlx::query("SELECT version FROM saga_schema WHERE component = ?").bind(component.name);
    Ok(query.fetch_optional(connection).await?.map(|row| row.get(0)))
}

async fn update_locked(
    connection: &mut SqliteConnection,
    component: &Component,
    place: &str,
) -> Result<(), Error> {
    let failed =
        |error| told(format!("the schema of the saga {} in {place} cannot be set up", component.name), error);
    let table = "CREATE TABLE IF NOT EXISTS saga_schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT";
    sqlx::raw_sql(table).execute(&mut *connection).await.map_err(failed)?;
    refuse_other(connection, component, place).await?;
    let version = version(connection, component).await.map_err(failed)?.unwrap_or(0);
    for step in component.missing(place, version)? {
        sqlx::raw_sql(AssertSqlSafe(*step)).execute(&mut *connection).await.map_err(failed)?;
    }
    let set = "INSERT INTO saga_schema VALUES (?, ?) ON CONFLICT DO UPDATE SET version = excluded.version";
    let set = sqlx::query(set).bind(component.name).bind(component.latest());
    set.execute(&mut *connection).await.map_err(failed).map(drop)
}

/// A handler that holds the write lock would stall the log's group commit.
async fn refuse_other(
    connection: &mut SqliteConnection,
    component: &Component,
    place: &str,
) -> Result<(), Error> {
    let query = "SELECT component FROM saga_schema WHERE (component = 'log') <> (? = 'log')";
    let query = sqlx::query(query).bind(component.name);
    let other = query.fetch_optional(connection).await;
    match other.map_err(|error| told(format!("the schema in {place} cannot be read"), error))? {
        None => Ok(()),
        Some(row) => {
            let (ours, other): (_, String) = (component.name, row.get(0));
            let message = format!(
                "{place} holds a saga {other} already, and cannot hold a saga {ours} too: \
                 a handler that writes would stall the log. Give each a file of its own"
            );
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}
