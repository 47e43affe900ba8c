use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use sqlx::postgres::{PgConnection, PgListener, PgPool, PgRow, Postgres};
use sqlx::{Pool, Row as _};
use tokio::sync::Notify;

use super::config::PostgresConfig;
use super::connect::Database;
use crate::error::told;
use crate::outbox::{ClaimedRow, NewRow, Outbox, OutboxDatabase, OutboxState, RawRefused, Settling, Take};
use crate::schema::postgres::{OUTBOX, update};

/// An outbox in PostgreSQL; see [`Outbox`]. It works at READ COMMITTED, the default, and above.
///
/// Relays hear of new messages by `LISTEN`, for which each keeps a connection of the pool, and look by themselves now and then.
pub type PostgresOutbox = Outbox<Postgres>;

/// Where the relays listen. In whatever schema the outbox is: being woken for nothing is cheap.
const CHANNEL: &str = "saga_outbox";
/// How long to wait before listening again where that failed.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// One after the other, and in one order for everybody. The lock ends with the transaction, so numbers are drawn in the order of commits.
const LOCK: &str = "\
    SELECT pg_advisory_xact_lock(l.hash) FROM ( \
        SELECT DISTINCT hashtextextended('saga_outbox ' || lane, 0) AS hash FROM unnest($1::text[]) lane \
        ORDER BY hash) l";

const INSERT: &str = "\
    WITH inserted AS ( \
        INSERT INTO saga_outbox (id, topic, key, lane, headers, payload, at) \
        SELECT v.id, v.topic, v.key, v.lane, v.headers, v.payload, saga_outbox_now() \
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[]) \
            WITH ORDINALITY v (id, topic, key, lane, headers, payload, place) ORDER BY v.place \
        RETURNING 1) \
    SELECT pg_notify('saga_outbox', '') FROM inserted LIMIT 1";

/// The first row of each lane, one lane after the other; and then, for those that could be locked, what comes after it.
const CLAIM: &str = "\
    WITH RECURSIVE lanes (lane) AS ( \
        (SELECT lane FROM saga_outbox WHERE lane > $2 ORDER BY lane LIMIT 1) \
        UNION ALL \
        SELECT (SELECT o.lane FROM saga_outbox o WHERE o.lane > l.lane ORDER BY o.lane LIMIT 1) \
        FROM lanes l WHERE l.lane IS NOT NULL), \
    firsts AS MATERIALIZED ( \
        SELECT h.lane FROM lanes l \
        CROSS JOIN LATERAL (SELECT no FROM saga_outbox WHERE lane = l.lane ORDER BY no LIMIT 1) f \
        JOIN saga_outbox h ON h.no = f.no \
        WHERE h.refused_at IS NULL AND h.free_at <= saga_outbox_now() \
        LIMIT $3 FOR UPDATE OF h SKIP LOCKED), \
    taken AS ( \
        SELECT n.no FROM firsts f CROSS JOIN LATERAL ( \
            SELECT no FROM saga_outbox WHERE lane = f.lane ORDER BY no LIMIT $4) n) \
    UPDATE saga_outbox o SET claim = $1, free_at = saga_outbox_now() + $5 FROM taken t WHERE o.no = t.no \
    RETURNING o.no, o.id, o.topic, o.key, o.lane, o.headers, o.payload, o.attempts";

const SETTLE: &str = "\
    WITH published AS ( \
        DELETE FROM saga_outbox WHERE claim = $1 AND no = ANY($2)), \
    untried AS ( \
        UPDATE saga_outbox SET claim = NULL, free_at = 0 WHERE claim = $1 AND no = ANY($3)), \
    failed AS ( \
        UPDATE saga_outbox o SET claim = NULL, free_at = saga_outbox_now() + v.delay, error = v.error, \
            attempts = o.attempts + 1 \
        FROM unnest($4::bigint[], $5::bigint[], $6::text[]) v (no, delay, error) \
        WHERE o.claim = $1 AND o.no = v.no) \
    UPDATE saga_outbox o SET claim = NULL, free_at = 0, refused_at = saga_outbox_now(), error = v.error, \
        attempts = o.attempts + 1 \
    FROM unnest($7::bigint[], $8::text[]) v (no, error) WHERE o.claim = $1 AND o.no = v.no";

const REFUSED: &str = "\
    SELECT no, id, topic, key, lane, headers, payload, attempts, coalesce(error, ''), refused_at, \
        (SELECT count(*) FROM saga_outbox b WHERE b.lane = o.lane AND b.no > o.no) \
    FROM saga_outbox o WHERE refused_at IS NOT NULL ORDER BY no LIMIT $1";

impl Outbox<Postgres> {
    /// Connects to the server that a URL names, `postgres://user:password@host/database`; see [`PostgresConfig`] for what else can stand
    /// in it. It must be the database of the transactions that publish, and the same schema.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and [`Invalid`](saga_core::ErrorKind::Invalid) when the URL is wrong.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::open(PostgresConfig::from_url(url)?).await
    }

    /// Connects, and makes the outbox's tables if they are not there.
    ///
    /// # Errors
    /// As for [`PostgresLog::open`](super::PostgresLog::open).
    pub async fn open(config: PostgresConfig) -> Result<Self, Error> {
        Ok(Self::new(Database::open(&config, &OUTBOX).await?.pool))
    }

    /// An outbox on connections that are there, in the first schema of their search path, where its tables are made if they are not there.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn on(pool: PgPool) -> Result<Self, Error> {
        let connection = pool.acquire().await;
        let mut connection = connection.map_err(|error| told("the outbox cannot be opened", error))?;
        update(&mut connection, &OUTBOX, None).await?;
        drop(connection);
        Ok(Self::new(pool))
    }
}

impl OutboxDatabase for Postgres {
    fn insert(
        connection: &mut PgConnection,
        rows: Vec<NewRow>,
        _now: i64,
    ) -> BoxFuture<'_, sqlx::Result<()>> {
        async move {
            let keyed: Vec<_> = rows.iter().filter(|row| row.key.is_some()).map(|row| &*row.lane).collect();
            if !keyed.is_empty() {
                sqlx::query(LOCK).bind(keyed).execute(&mut *connection).await?;
            }
            let column = |of: fn(&NewRow) -> &str| rows.iter().map(of).collect::<Vec<_>>();
            let keys: Vec<_> = rows.iter().map(|row| row.key.as_deref()).collect();
            let payloads: Vec<_> = rows.iter().map(|row| &*row.payload).collect();
            let insert =
                sqlx::query(INSERT).bind(column(|row| &row.id)).bind(column(|row| &row.topic)).bind(keys);
            let insert = insert.bind(column(|row| &row.lane)).bind(column(|row| &row.headers)).bind(payloads);
            insert.execute(connection).await.map(drop)
        }
        .boxed()
    }

    fn claim<'a>(
        pool: &'a Pool<Self>,
        take: &'a Take,
        _now: i64,
    ) -> BoxFuture<'a, sqlx::Result<Vec<ClaimedRow>>> {
        async move {
            let claim =
                sqlx::query(CLAIM).bind(&take.claim).bind(&take.after).bind(i64::from(take.lanes_max));
            let claim = claim.bind(i64::from(take.per_lane_max)).bind(take.ttl_ms);
            claim.fetch_all(pool).await?.iter().map(claimed).collect()
        }
        .boxed()
    }

    fn settle<'a>(
        pool: &'a Pool<Self>,
        settling: &'a Settling,
        _now: i64,
    ) -> BoxFuture<'a, sqlx::Result<()>> {
        async move {
            let Settling { claim, published, untried, failed, refused } = settling;
            let numbers: Vec<_> = failed.iter().map(|failed| failed.0).collect();
            let delays: Vec<_> = failed.iter().map(|failed| failed.1).collect();
            let errors: Vec<_> = failed.iter().map(|failed| without_nul(&failed.2)).collect();
            let (refused, reasons): (Vec<_>, Vec<_>) =
                refused.iter().map(|refused| (refused.0, without_nul(&refused.1))).unzip();
            let settle = sqlx::query(SETTLE).bind(claim).bind(published).bind(untried);
            let settle = settle.bind(numbers).bind(delays).bind(errors).bind(refused).bind(reasons);
            settle.execute(pool).await.map(drop)
        }
        .boxed()
    }

    fn listen(pool: Pool<Self>, nudge: Arc<Notify>) -> BoxFuture<'static, ()> {
        async move {
            // The last connection is for the work itself.
            if pool.options().get_max_connections() < 2 {
                return;
            }
            loop {
                if let Err(error) = hear(&pool, &nudge).await {
                    tracing::debug!(%error, "the outbox's relay does not hear of new messages; looking for them");
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        }
        .boxed()
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
            let rows = sqlx::query(REFUSED).bind(i64::from(max)).fetch_all(pool).await?;
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
            let retry = "UPDATE saga_outbox SET refused_at = NULL, free_at = 0 WHERE no = $1 AND refused_at IS NOT NULL";
            let retried = sqlx::query(retry).bind(number).execute(pool).await?;
            Ok(retried.rows_affected() > 0)
        }
        .boxed()
    }

    fn discard(pool: &Pool<Self>, number: i64) -> BoxFuture<'_, sqlx::Result<bool>> {
        async move {
            let discard = "DELETE FROM saga_outbox WHERE no = $1 AND refused_at IS NOT NULL";
            let discarded = sqlx::query(discard).bind(number).execute(pool).await?;
            Ok(discarded.rows_affected() > 0)
        }
        .boxed()
    }
}

/// Passes on what is notified, until that fails.
async fn hear(pool: &PgPool, nudge: &Notify) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // What was said before, or while the connection was gone, nobody heard.
        nudge.notify_one();
        listener.recv().await?;
    }
}

fn claimed(row: &PgRow) -> sqlx::Result<ClaimedRow> {
    let (id, topic, key, lane) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    let row_of = NewRow { id, topic, key, lane, headers: row.try_get(5)?, payload: row.try_get(6)? };
    Ok(ClaimedRow { number: row.try_get(0)?, row: row_of, attempts: row.try_get(7)? })
}

/// PostgreSQL's text takes every character but this one.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}
