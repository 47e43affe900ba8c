use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Pool, Row as _};
use tokio::sync::Notify;

use super::pool;
use crate::outbox::{ClaimedRow, NewRow, Outbox, OutboxDatabase, OutboxState, RawRefused, Settling, Take};
use crate::schema::sqlite::OUTBOX;

/// An outbox in a SQLite file; see [`Outbox`]. Claims run out by this machine's clock.
///
/// It belongs in the file that has the user's own tables, beside the barrier if there is one; the saga log belongs in another.
pub type SqliteOutbox = Outbox<Sqlite>;

/// The first row of each lane that is free.
const FIRSTS: &str = "\
    WITH RECURSIVE lanes (lane) AS ( \
        SELECT (SELECT lane FROM saga_outbox WHERE lane > ?1 ORDER BY lane LIMIT 1) \
        UNION ALL \
        SELECT (SELECT o.lane FROM saga_outbox o WHERE o.lane > l.lane ORDER BY o.lane LIMIT 1) \
        FROM lanes l WHERE l.lane IS NOT NULL) \
    SELECT h.lane FROM lanes l \
    JOIN saga_outbox h ON h.no = (SELECT no FROM saga_outbox WHERE lane = l.lane ORDER BY no LIMIT 1) \
    WHERE h.refused_at IS NULL AND h.free_at <= ?2 LIMIT ?3";

const CLAIM: &str = "\
    UPDATE saga_outbox SET claim = ?1, free_at = ?2 \
    WHERE no IN (SELECT no FROM saga_outbox WHERE lane = ?3 ORDER BY no LIMIT ?4) \
    RETURNING no, id, topic, key, lane, headers, payload, attempts";

const REFUSED: &str = "\
    SELECT no, id, topic, key, lane, headers, payload, attempts, coalesce(error, ''), refused_at, \
        (SELECT count(*) FROM saga_outbox b WHERE b.lane = o.lane AND b.no > o.no) \
    FROM saga_outbox o WHERE refused_at IS NOT NULL ORDER BY no LIMIT ?";

impl Outbox<Sqlite> {
    /// Opens the file that a URL names, `sqlite:shop.db`, and makes the outbox's tables if they are not there. In the URL's query can stand
    /// `synchronous` and `busy_timeout_ms`, as for the barrier.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong, or the file holds a saga log; otherwise as
    /// [`SqliteLog::open`](super::SqliteLog::open).
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::on(pool::of(url)?).await
    }

    /// An outbox on connections that are there, for example a barrier's: whoever writes then waits in turn, and a relay of this process looks
    /// as soon as a transaction has ended. Its tables are made if they are not there.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn on(pool: SqlitePool) -> Result<Self, Error> {
        pool::prepare(&pool, &OUTBOX).await?;
        Ok(Self::new(pool))
    }
}

impl OutboxDatabase for Sqlite {
    fn insert(
        connection: &mut SqliteConnection,
        rows: Vec<NewRow>,
        now: i64,
    ) -> BoxFuture<'_, sqlx::Result<()>> {
        async move {
            for NewRow { id, topic, key, lane, headers, payload } in rows {
                let insert = "INSERT INTO saga_outbox (id, topic, key, lane, headers, payload, at) VALUES (?, ?, ?, ?, ?, ?, ?)";
                let insert = sqlx::query(insert).bind(id).bind(topic).bind(key).bind(lane).bind(headers);
                insert.bind(payload).bind(now).execute(&mut *connection).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn claim<'a>(
        pool: &'a Pool<Self>,
        take: &'a Take,
        now: i64,
    ) -> BoxFuture<'a, sqlx::Result<Vec<ClaimedRow>>> {
        async move {
            // Reading disturbs nobody; most of the time there is nothing.
            let peek = sqlx::query(FIRSTS).bind(&take.after).bind(now).bind(1);
            if peek.fetch_optional(pool).await?.is_none() {
                return Ok(Vec::new());
            }
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
            let firsts = sqlx::query(FIRSTS).bind(&take.after).bind(now).bind(take.lanes_max);
            let firsts = firsts.fetch_all(&mut *transaction).await?;
            let mut rows = Vec::new();
            for lane in firsts {
                let claim = sqlx::query(CLAIM).bind(&take.claim).bind(now.saturating_add(take.ttl_ms));
                let claim = claim.bind(lane.try_get::<String, _>(0)?).bind(take.per_lane_max);
                for row in claim.fetch_all(&mut *transaction).await? {
                    rows.push(claimed(&row)?);
                }
            }
            transaction.commit().await?;
            Ok(rows)
        }
        .boxed()
    }

    fn settle<'a>(pool: &'a Pool<Self>, settling: &'a Settling, now: i64) -> BoxFuture<'a, sqlx::Result<()>> {
        async move {
            let Settling { claim, published, untried, failed, refused } = settling;
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
            for number in published {
                let delete = sqlx::query("DELETE FROM saga_outbox WHERE no = ? AND claim = ?");
                delete.bind(number).bind(claim).execute(&mut *transaction).await?;
            }
            for number in untried {
                let free = sqlx::query(
                    "UPDATE saga_outbox SET claim = NULL, free_at = 0 WHERE no = ? AND claim = ?",
                );
                free.bind(number).bind(claim).execute(&mut *transaction).await?;
            }
            let failed =
                failed.iter().map(|(number, delay, error)| (number, now.saturating_add(*delay), None, error));
            let refused = refused.iter().map(|(number, reason)| (number, 0, Some(now), reason));
            for (number, free_at, refused_at, error) in failed.chain(refused) {
                let update = "UPDATE saga_outbox SET claim = NULL, free_at = ?, refused_at = ?, error = ?, \
                    attempts = attempts + 1 WHERE no = ? AND claim = ?";
                let update = sqlx::query(update).bind(free_at).bind(refused_at).bind(error);
                update.bind(number).bind(claim).execute(&mut *transaction).await?;
            }
            transaction.commit().await
        }
        .boxed()
    }

    fn listen(_pool: Pool<Self>, _nudge: Arc<Notify>) -> BoxFuture<'static, ()> {
        // Nobody in another process can tell.
        std::future::ready(()).boxed()
    }

    fn state(pool: &Pool<Self>) -> BoxFuture<'_, sqlx::Result<OutboxState>> {
        async move {
            let query = "\
                SELECT count(*) FILTER (WHERE refused_at IS NULL), count(refused_at), \
                    min(at) FILTER (WHERE refused_at IS NULL) FROM saga_outbox";
            let row = sqlx::query(query).fetch_one(pool).await?;
            Ok(OutboxState::of(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        }
        .boxed()
    }

    fn refused(pool: &Pool<Self>, max: u32) -> BoxFuture<'_, sqlx::Result<Vec<RawRefused>>> {
        async move {
            let rows = sqlx::query(REFUSED).bind(max).fetch_all(pool).await?;
            let refused = rows.iter().map(|row| {
                let (reason, at, behind) = (row.try_get(8)?, row.try_get(9)?, row.try_get(10)?);
                Ok(RawRefused { row: claimed(row)?, reason, at, behind })
            });
            refused.collect()
        }
        .boxed()
    }

    fn retry(pool: &Pool<Self>, number: i64) -> BoxFuture<'_, sqlx::Result<bool>> {
        async move {
            let retry = "UPDATE saga_outbox SET refused_at = NULL, free_at = 0 WHERE no = ? AND refused_at IS NOT NULL";
            let retried = sqlx::query(retry).bind(number).execute(pool).await?;
            Ok(retried.rows_affected() > 0)
        }
        .boxed()
    }

    fn discard(pool: &Pool<Self>, number: i64) -> BoxFuture<'_, sqlx::Result<bool>> {
        async move {
            let discard = "DELETE FROM saga_outbox WHERE no = ? AND refused_at IS NOT NULL";
            let discarded = sqlx::query(discard).bind(number).execute(pool).await?;
            Ok(discarded.rows_affected() > 0)
        }
        .boxed()
    }
}

fn claimed(row: &SqliteRow) -> sqlx::Result<ClaimedRow> {
    let (id, topic, key, lane) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    let row_of = NewRow { id, topic, key, lane, headers: row.try_get(5)?, payload: row.try_get(6)? };
    Ok(ClaimedRow { number: row.try_get(0)?, row: row_of, attempts: row.try_get(7)? })
}
