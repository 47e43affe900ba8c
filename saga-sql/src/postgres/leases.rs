use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use sqlx::postgres::{PgConnection, PgPool, Postgres};
use sqlx::{Pool, Row as _};

use super::config::PostgresConfig;
use super::connect::Database;
use crate::error::told;
use crate::leases::{LeaseAsk, LeaseDatabase, Leases, SHOWN_FOR_MS};
use crate::schema::postgres::{LEASES, update};

/// Keyed leases in PostgreSQL, by the server's clock; see [`Leases`].
pub type PostgresLeases = Leases<Postgres>;

/// Where a row is there, the number is drawn once the row is locked: who comes later has the higher one.
const ACQUIRE: &str = "\
    INSERT INTO saga_leases AS l (key, fencing, holder, until) \
    VALUES ($1, nextval('saga_leases_fencing'), $2, saga_leases_now() + $3) \
    ON CONFLICT (key) DO UPDATE SET fencing = nextval('saga_leases_fencing'), holder = excluded.holder, \
        until = saga_leases_now() + $3 \
    WHERE l.until <= saga_leases_now() RETURNING fencing";

const RENEW: &str = "\
    UPDATE saga_leases SET until = saga_leases_now() + $3 \
    WHERE key = $1 AND fencing = $2 AND until > saga_leases_now()";

/// The moment is a query of its own, which is asked once; only so does the index help.
const PRUNE: &str = "\
    DELETE FROM saga_leases WHERE key IN ( \
        SELECT key FROM saga_leases WHERE until < (SELECT saga_leases_now() - $1) LIMIT 1000 FOR UPDATE SKIP LOCKED)";

impl Leases<Postgres> {
    /// Connects to the server that a URL names, `postgres://user:password@host/database`; see [`PostgresConfig`] for what else can stand
    /// in it.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(PostgresConfig::from_url(url)?).await
    }

    /// Connects, and makes the leases' table if it is not there.
    ///
    /// # Errors
    /// As for [`PostgresLog::open`](super::PostgresLog::open).
    pub async fn open(config: PostgresConfig) -> Result<Self, Error> {
        Ok(Self::new(Database::open(&config, &LEASES).await?.pool))
    }

    /// Leases on connections that are there, in the first schema of their search path, where the table is made if it is not there.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn on(pool: PgPool) -> Result<Self, Error> {
        let connection = pool.acquire().await;
        let mut connection = connection.map_err(|error| told("the leases cannot be opened", error))?;
        update(&mut connection, &LEASES, None).await?;
        drop(connection);
        Ok(Self::new(pool))
    }
}

impl LeaseDatabase for Postgres {
    fn acquire<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk) -> BoxFuture<'a, sqlx::Result<Option<i64>>> {
        async move {
            let acquire = sqlx::query(ACQUIRE).bind(&*ask.key).bind(&*ask.holder).bind(ask.ttl_ms);
            acquire.fetch_optional(pool).await?.map(|row| row.try_get(0)).transpose()
        }
        .boxed()
    }

    fn renew<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk, number: i64) -> BoxFuture<'a, sqlx::Result<bool>> {
        async move {
            let renew = sqlx::query(RENEW).bind(&*ask.key).bind(number).bind(ask.ttl_ms);
            Ok(renew.execute(pool).await?.rows_affected() > 0)
        }
        .boxed()
    }

    fn check<'a>(
        connection: &'a mut PgConnection,
        ask: &'a LeaseAsk,
        number: i64,
    ) -> BoxFuture<'a, sqlx::Result<bool>> {
        async move {
            let lock =
                "SELECT until > saga_leases_now() FROM saga_leases WHERE key = $1 AND fencing = $2 FOR SHARE";
            let lock = sqlx::query(lock).bind(&*ask.key).bind(number);
            let held = lock.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?;
            Ok(held.unwrap_or(false))
        }
        .boxed()
    }

    fn prune(pool: &Pool<Self>, _now: i64) -> BoxFuture<'_, sqlx::Result<()>> {
        sqlx::query(PRUNE).bind(SHOWN_FOR_MS).execute(pool).map(|pruned| pruned.map(drop)).boxed()
    }
}
