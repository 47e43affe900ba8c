use saga_core::{Error, ErrorKind};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

use super::Component;
use crate::error::told;

pub(crate) const LOG: Component = Component {
    name: "log",
    steps: &[include_str!("postgres_log_1.sql"), include_str!("postgres_log_2.sql")],
};
pub(crate) const INBOX: Component =
    Component { name: "inbox", steps: &[include_str!("postgres_inbox_1.sql")] };
pub(crate) const OUTBOX: Component =
    Component { name: "outbox", steps: &[include_str!("postgres_outbox_1.sql")] };
pub(crate) const LEASES: Component =
    Component { name: "leases", steps: &[include_str!("postgres_leases_1.sql")] };

/// Any number that nobody else uses for an advisory lock.
const LOCK: i64 = 0x7361_6761_5f73_716c;

/// Brings a component's tables up to date. Several processes may do so at once.
///
/// # Errors
/// As [`Component::missing`] says, and when the database does not answer or refuses.
pub(crate) async fn update(
    connection: &mut PgConnection,
    component: &Component,
    schema: Option<&str>,
) -> Result<(), Error> {
    let place = schema.map_or_else(|| "the database".to_owned(), |schema| format!("schema {schema}"));
    let failed =
        |error| told(format!("the schema of the saga {} in {place} cannot be set up", component.name), error);
    if let Ok(Some(version)) = version(connection, component).await
        && version == component.latest()
    {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(failed)?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.execute(&mut *transaction).await.map_err(failed)?;
    if let Some(schema) = schema {
        let make = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *transaction).await.map_err(failed)?;
    }
    let table =
        "CREATE TABLE IF NOT EXISTS saga_schema (component text PRIMARY KEY, version bigint NOT NULL)";
    sqlx::raw_sql(table).execute(&mut *transaction).await.map_err(failed)?;
    let version = version(&mut transaction, component).await.map_err(failed)?.unwrap_or(0);
    for step in component.missing(&place, version)? {
        sqlx::raw_sql(AssertSqlSafe(*step)).execute(&mut *transaction).await.map_err(failed)?;
    }
    let set = "INSERT INTO saga_schema VALUES ($1, $2) ON CONFLICT (component) DO UPDATE SET version = excluded.version";
    let set = sqlx::query(set).bind(component.name).bind(component.latest());
    set.execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

async fn version(connection: &mut PgConnection, component: &Component) -> sqlx::Result<Option<i64>> {
    let query = sqlx::query("SELECT version FROM saga_schema WHERE component = $1").bind(component.name);
    Ok(query.fetch_optional(connection).await?.map(|row| row.get(0)))
}

/// A name that needs no quotes.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if begins && name.len() <= 63 && name.bytes().all(is_plain) {
        return Ok(());
    }
    let message =
        format!("the schema {name:?} must be of a-z 0-9 _, begin with a letter, and have 63 at most");
    Err(Error::new(ErrorKind::Invalid, message))
}
