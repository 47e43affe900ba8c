use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Pool, Row as _};

use super::pool;
use crate::leases::{LeaseAsk, LeaseDatabase, Leases, SHOWN_FOR_MS};
use crate::schema::sqlite::LEASES;

/// Keyed leases in a SQLite file, for the processes of one machine, by its clock; see [`Leases`]. Not in the file of a saga log.
pub type SqliteLeases = Leases<Sqlite>;

const STORE: &str = "\
    INSERT INTO saga_leases (key, fencing, holder, until) VALUES (?, ?, ?, ?) \
    ON CONFLICT DO UPDATE SET fencing = excluded.fencing, holder = excluded.holder, until = excluded.until";

const PRUNE: &str = "\
    DELETE FROM saga_leases WHERE key IN (SELECT key FROM saga_leases WHERE until < ? ORDER BY until LIMIT 1000)";

impl Leases<Sqlite> {
    /// Opens the file that a URL names, `sqlite:shop.db`, and makes the leases' tables if they are not there. In the URL's query can stand
    /// `synchronous` and `busy_timeout_ms`, as for the barrier.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong, or the file holds a saga log; otherwise as
    /// [`SqliteLog::open`](super::SqliteLog::open).
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::on(pool::of(url)?).await
    }

    /// Leases on connections that are there, for example a barrier's. Their tables are made if they are not there.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn on(pool: SqlitePool) -> Result<Self, Error> {
        pool::prepare(&pool, &LEASES).await?;
        Ok(Self::new(pool))
    }
}

impl LeaseDatabase for Sqlite {
    fn acquire<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk) -> BoxFuture<'a, sqlx::Result<Option<i64>>> {
        async move {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
            let held = sqlx::query("SELECT 1 FROM saga_leases WHERE key = ? AND until > ?");
            let held = held.bind(&*ask.key).bind(ask.now);
            if held.fetch_optional(&mut *transaction).await?.is_some() {
                return Ok(None);
            }
            let next = sqlx::query("UPDATE saga_leases_fencing SET last = last + 1 RETURNING last");
            let fencing: i64 = next.fetch_one(&mut *transaction).await?.try_get(0)?;
            let store = sqlx::query(STORE).bind(&*ask.key).bind(fencing).bind(&*ask.holder);
            store.bind(ask.now.saturating_add(ask.ttl_ms)).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(Some(fencing))
        }
        .boxed()
    }

    fn renew<'a>(pool: &'a Pool<Self>, ask: &'a LeaseAsk, number: i64) -> BoxFuture<'a, sqlx::Result<bool>> {
        async move {
            let renew =
                sqlx::query("UPDATE saga_leases SET until = ? WHERE key = ? AND fencing = ? AND until > ?");
            let renew =
                renew.bind(ask.now.saturating_add(ask.ttl_ms)).bind(&*ask.key).bind(number).bind(ask.now);
            Ok(renew.execute(pool).await?.rows_affected() > 0)
        }
        .boxed()
    }

    fn check<'a>(
        connection: &'a mut SqliteConnection,
        ask: &'a LeaseAsk,
        number: i64,
    ) -> BoxFuture<'a, sqlx::Result<bool>> {
        async move {
            // Written, so that the transaction has the file's one lock even if it has only read so far.
            let lock = "UPDATE saga_leases SET fencing = fencing WHERE key = ? AND fencing = ? AND until > ?";
            let lock = sqlx::query(lock).bind(&*ask.key).bind(number).bind(ask.now);
            Ok(lock.execute(connection).await?.rows_affected() > 0)
        }
        .boxed()
    }

    fn prune(pool: &Pool<Self>, now: i64) -> BoxFuture<'_, sqlx::Result<()>> {
        let before = now.saturating_sub(SHOWN_FOR_MS);
        sqlx::query(PRUNE).bind(before).execute(pool).map(|pruned| pruned.map(drop)).boxed()
    }
}
