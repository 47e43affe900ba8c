//! Connections, and the time that a call may take.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use saga_core::{Error, ErrorKind};
use sqlx::Connection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};

use super::config::PostgresConfig;
use crate::error::told;
use crate::schema;
use crate::schema::Component;

/// The log's statements look sagas up by their keys, however many there are. Without this the server makes plans while its tables are still small,
/// by which it reads them whole, and goes by these plans when they have grown. What it must read whole all the same it then takes for so dear that
/// it would compile the statement first, which takes longer than the rest.
const PLANNER: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// A pool, and how long a call may take.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) pool: PgPool,
    request_timeout: Duration,
}

impl Database {
    /// Connects, and brings a component's tables up to date.
    pub(super) async fn open(config: &PostgresConfig, component: &Component) -> Result<Self, Error> {
        let options = match component.name {
            "log" => config.options().options(PLANNER),
            _ => config.options(),
        };
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        // Not by the pool, which would keep the reason of a failure to itself.
        let connecting = tokio::time::timeout(connect_timeout, PgConnection::connect_with(&options));
        let connected = connecting.await.map_err(|_| {
            let message = format!("PostgreSQL did not answer within {connect_timeout:?}");
            Error::new(ErrorKind::Retry, message)
        })?;
        let mut connection = connected.map_err(|error| told("cannot connect to PostgreSQL", error))?;
        schema::postgres::update(&mut connection, component, config.schema.as_deref()).await?;
        drop(connection);
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max.max(1))
            .acquire_timeout(connect_timeout)
            // A connection that was cut says so when it is used, and the call is tried again.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool, request_timeout: config.request_timeout() })
    }

    /// Lends a connection.
    pub(super) async fn lend(&self, what: &str) -> Result<Lent, Error> {
        let connection = self.pool.acquire().await.map_err(|error| told(what, error))?;
        Ok(Lent { connection, is_over: false })
    }

    /// Does what a call asks, within the time that it may take.
    pub(super) async fn limit<T, E: From<TimedOut>>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::time::timeout(self.request_timeout, work).await.unwrap_or_else(|_| {
            let message = format!("{what}: PostgreSQL did not answer within {:?}", self.request_timeout);
            Err(TimedOut(Error::new(ErrorKind::Unknown, message)).into())
        })
    }
}

/// A connection of the pool. One that was given up in the middle of a call is closed: nobody knows what it still answers.
pub(super) struct Lent {
    connection: PoolConnection<Postgres>,
    is_over: bool,
}

impl Lent {
    /// The call is over.
    pub(super) fn done(mut self) {
        self.is_over = true;
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_over {
            self.connection.close_on_drop();
        }
    }
}

/// A call took too long: it may or may not have taken effect.
pub(super) struct TimedOut(pub(super) Error);

impl From<TimedOut> for Error {
    fn from(TimedOut(error): TimedOut) -> Self {
        error
    }
}
