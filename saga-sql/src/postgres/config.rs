use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use saga_core::{Error, ErrorKind};
use serde::Deserialize;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::barrier::{COMMANDS_KEPT_FOR_MS, ROWS_KEPT_FOR_MS, TRANSACTION_TIME_MAX_MS};
use crate::schema::postgres::check_name;

/// How to reach PostgreSQL, 12 or later. Every field but the connection itself can stand in the URL's query:
/// `postgres://user:password@localhost/shop?schema=sagas`. What else stands there is for the driver, for example `sslmode=verify-full` and
/// `sslrootcert=…`, `application_name`.
#[derive(Clone, Deserialize)]
#[serde(default)]
pub struct PostgresConfig {
    /// Where the server is and who asks. In a URL: the rest of it. Its password is not shown.
    #[serde(skip_deserializing)]
    pub connection: PgConnectOptions,
    /// The schema in which the tables are; it is made if it is not there. Default: the first of the server's search path.
    pub schema: Option<String>,
    /// For how long a settled saga's tombstone stays, in ms, so that a start that comes again is recognised. Default: 86,400,000 (a day).
    pub idempotency_window_ms: u64,
    /// How many connections may be open. Default: 8.
    pub connections_max: u32,
    /// How long to wait for a connection, in ms. Default: 5,000.
    pub connect_timeout_ms: u64,
    /// Of the barrier: how long a row is kept after its last change, in ms. Default: 2,678,400,000 (31 days).
    pub rows_kept_for_ms: u64,
    /// Of the barrier: how long commands and their dead letters can live on the bus, in ms; rows must be kept for as long. Default:
    /// 2,592,000,000 (30 days), the buses' own default for dead letters.
    pub commands_kept_for_ms: u64,
    /// Of the barrier: how long a handler's transaction may take before it is rolled back, in ms. Default: 5,000.
    pub transaction_time_max_ms: u64,
    /// How long one call may take before the connection counts as cut, in ms. Default: 30,000.
    pub request_timeout_ms: u64,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            connection: PgConnectOptions::new_without_pgpass(),
            schema: None,
            idempotency_window_ms: 24 * 3_600_000,
            connections_max: 8,
            connect_timeout_ms: 5_000,
            rows_kept_for_ms: ROWS_KEPT_FOR_MS,
            commands_kept_for_ms: COMMANDS_KEPT_FOR_MS,
            transaction_time_max_ms: TRANSACTION_TIME_MAX_MS,
            request_timeout_ms: 30_000,
        }
    }
}

/// The driver's own shows the password.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("host", &self.connection.get_host())
            .field("port", &self.connection.get_port())
            .field("database", &self.connection.get_database())
            .field("schema", &self.schema)
            .field("idempotency_window_ms", &self.idempotency_window_ms)
            .field("connections_max", &self.connections_max)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("rows_kept_for_ms", &self.rows_kept_for_ms)
            .field("commands_kept_for_ms", &self.commands_kept_for_ms)
            .field("transaction_time_max_ms", &self.transaction_time_max_ms)
            .field("request_timeout_ms", &self.request_timeout_ms)
            .finish_non_exhaustive()
    }
}

/// The settings of ours that can stand in a URL.
const OURS: [&str; 8] = [
    "schema",
    "idempotency_window_ms",
    "connections_max",
    "connect_timeout_ms",
    "rows_kept_for_ms",
    "commands_kept_for_ms",
    "transaction_time_max_ms",
    "request_timeout_ms",
];

impl PostgresConfig {
    /// Reads a URL: `postgres://user:password@host:port/database?setting=value`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says what is wrong with it, without showing what could be a secret.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, format!("the postgres URL {problem}"));
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(invalid("does not begin with postgres://".into()));
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let is_ours = |pair: &&str| OURS.contains(&pair.split_once('=').unwrap_or((pair, "")).0);
        let (ours, theirs): (Vec<_>, Vec<_>) =
            query.split('&').filter(|pair| !pair.is_empty()).partition(is_ours);
        let settings = serde_urlencoded::from_str::<Self>(&ours.join("&"));
        let settings = settings.map_err(|error| invalid(format!("has wrong settings: {error}")))?;
        settings.schema.as_deref().map_or(Ok(()), check_name)?;
        // The driver's own error may show the URL.
        let connection = PgConnectOptions::from_str(&format!("{place}?{}", theirs.join("&")));
        let connection = connection.map_err(|_| {
            invalid("cannot be read; a password with @ : / in it must be percent-encoded".into())
        })?;
        Ok(Self { connection, ..settings })
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        let options = self.connection.clone().disable_statement_logging();
        match &self.schema {
            None => options,
            Some(schema) => options.options([("search_path", schema)]),
        }
    }

    pub(super) const fn idempotency_window(&self) -> Duration {
        Duration::from_millis(self.idempotency_window_ms)
    }

    pub(super) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_connection_and_settings() {
        let url = "postgres://me:p%40ss@db:6543/shop?schema=sagas&application_name=x&connections_max=3";
        let config = PostgresConfig::from_url(url).unwrap();
        assert_eq!((config.schema.as_deref(), config.connections_max), (Some("sagas"), 3));
        assert_eq!((config.connection.get_host(), config.connection.get_port()), ("db", 6543));
        assert_eq!(config.connection.get_database(), Some("shop"));
        let shown = format!("{config:?}");
        assert!(shown.contains("sagas") && !shown.contains("p@ss"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_shown() {
        for (url, expected) in [
            ("mysql://secret@x", "does not begin"),
            ("postgres://u:sec/ret@host", "cannot be read"),
            ("postgres://u:secret@host?schema=a;drop", "must be of"),
            ("postgres://u:secret@host?connections_max=x", "wrong settings"),
        ] {
            let error = PostgresConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains(expected) && !text.contains("sec"), "{url}: {text}");
        }
    }
}
