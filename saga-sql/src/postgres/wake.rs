//! Which sagas are due, and the pruning of what is too old.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use saga_core::Error;
use saga_core::ports::Woken;
use saga_core::record::{DefinitionRef, SagaId, SagaKey};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::append::read_definitions;
use super::lease::run_out;
use super::log::Inner;
use super::read::window_ms;
use crate::error::told;
use crate::stored::corrupt;

/// How often settled sagas that are too old are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_millis(100);
/// At most this many are pruned at a time, so that it is over soon.
const PRUNED_MAX: i64 = 4_096;

/// The time, and whether the lease is alive.
const ALIVE: &str = "\
    SELECT n.now, EXISTS (SELECT 1 FROM saga_log_leases WHERE epoch = $1 AND owner = $2 AND until > n.now) \
    FROM (SELECT saga_log_now() AS now) n";

/// The first lines of each queue, one for each definition and owner: of sagas that are nobody's, this lease's, or of a lease that has ended.
const DUE: &str = "\
    WITH RECURSIVE lanes (definition, owner) AS ( \
        SELECT d, (SELECT min(s.owner) FROM saga_log s WHERE s.definition = d) FROM unnest($1::bigint[]) d \
        UNION ALL \
        SELECT l.definition, (SELECT min(s.owner) FROM saga_log s WHERE s.definition = l.definition AND s.owner > l.owner) \
        FROM lanes l WHERE l.owner IS NOT NULL) \
    SELECT s.no, s.saga, s.id, s.version, s.owner, s.line_at, s.wake_at FROM lanes l CROSS JOIN LATERAL ( \
        SELECT no, saga, id, version, owner, line_at, wake_at FROM saga_log \
        WHERE definition = l.definition AND owner = l.owner AND line_at <= $3 ORDER BY line_at LIMIT $4) s \
    WHERE l.owner IS NOT NULL AND (l.owner = $2 OR NOT EXISTS ( \
        SELECT 1 FROM saga_log_leases x WHERE x.epoch = l.owner AND x.until > $3)) \
    ORDER BY s.line_at, s.no LIMIT $4";

/// Files those anew that have been put off since they were filed. Whoever has one locked has something to do with it: it can wait.
const REFILE: &str = "\
    UPDATE saga_log s SET line_at = s.wake_at FROM ( \
        SELECT no FROM saga_log WHERE no = ANY($1) AND wake_at > line_at FOR UPDATE SKIP LOCKED) t \
    WHERE s.no = t.no";

/// Makes sagas this lease's, unless they have changed hands meanwhile or are being appended to.
const TAKE_OVER: &str = "\
    UPDATE saga_log s SET owner = $1 FROM ( \
        SELECT l.no FROM unnest($2::bigint[], $3::bigint[]) t (no, owner) JOIN saga_log l ON l.no = t.no \
        WHERE l.owner = t.owner AND l.line_at <= $4 FOR UPDATE OF l SKIP LOCKED) t \
    WHERE s.no = t.no RETURNING s.no, s.version";

/// The moment is a query of its own, which is asked once: compared with a function that may say something else each time, every tombstone would
/// be read.
const PRUNE: &str = "\
    DELETE FROM saga_log WHERE no IN ( \
        SELECT no FROM saga_log WHERE settled_at <= (SELECT saga_log_now() - $1) ORDER BY settled_at LIMIT $2 \
        FOR UPDATE SKIP LOCKED)";

const WHAT: &str = "the saga log cannot say which sagas are due";

pub(super) async fn wake(
    inner: &Inner,
    owner: &str,
    epoch: u64,
    definitions: &[DefinitionRef],
    max: usize,
) -> Result<Vec<Woken>, Error> {
    let mut lent = inner.database.lend(WHAT).await?;
    let work = async {
        let numbers = numbers(inner, &mut lent, definitions).await?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let woken = transact(&mut lent, owner, epoch, &numbers, max).await;
        let woken = woken.map_err(|error| told(WHAT, error))?;
        prune(inner, &mut lent).await?;
        Ok::<_, Error>(woken)
    };
    let woken = inner.database.limit(WHAT, work).await?;
    lent.done();
    woken.ok_or_else(|| run_out(owner, epoch))?.into_iter().map(woken_of).collect()
}

/// The numbers of those definitions that the log knows.
async fn numbers(
    inner: &Inner,
    connection: &mut PgConnection,
    definitions: &[DefinitionRef],
) -> Result<Vec<i64>, Error> {
    let all_known = definitions.iter().all(|definition| inner.known().numbers.contains_key(definition));
    if !all_known {
        read_definitions(inner, connection).await?;
    }
    let known = inner.known();
    Ok(definitions.iter().filter_map(|definition| known.numbers.get(definition).copied()).collect())
}

/// A saga that is due.
struct Due {
    row: PgRow,
    version: i64,
    taken_over: bool,
}

/// The due ones, unless the lease has run out.
async fn transact(
    connection: &mut PgConnection,
    owner: &str,
    epoch: u64,
    definitions: &[i64],
    max: i64,
) -> sqlx::Result<Option<Vec<Due>>> {
    let epoch = epoch as i64;
    let mut transaction = connection.begin().await?;
    let alive = sqlx::query(ALIVE).bind(epoch).bind(owner).fetch_one(&mut *transaction).await?;
    let now: i64 = alive.get(0);
    if !alive.get::<bool, _>(1) {
        return Ok(None);
    }
    let rows = loop {
        let due = sqlx::query(DUE).bind(definitions).bind(epoch).bind(now).bind(max);
        let rows = due.fetch_all(&mut *transaction).await?;
        let (due, put_off): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.get::<Option<i64>, _>(6) == row.get(5));
        let put_off: Vec<i64> = put_off.iter().map(|row| row.get(0)).collect();
        if put_off.is_empty() {
            break due;
        }
        let refiled = sqlx::query(REFILE).bind(put_off).execute(&mut *transaction).await?;
        if refiled.rows_affected() == 0 {
            break due;
        }
    };
    let others = rows.iter().map(|row| (row.get::<i64, _>(0), row.get::<i64, _>(4)));
    let (others, owners): (Vec<_>, Vec<_>) = others.filter(|(_, owner)| *owner != epoch).unzip();
    let mut taken = HashMap::new();
    if !others.is_empty() {
        let take = sqlx::query(TAKE_OVER).bind(epoch).bind(others).bind(owners).bind(now);
        for row in take.fetch_all(&mut *transaction).await? {
            taken.insert(row.get::<i64, _>(0), row.get::<i64, _>(1));
        }
    }
    transaction.commit().await?;
    let due = rows.into_iter().filter_map(|row| {
        let is_ours = row.get::<i64, _>(4) == epoch;
        let version = if is_ours { Some(row.get(3)) } else { taken.get(&row.get(0)).copied() };
        Some(Due { version: version?, taken_over: !is_ours, row })
    });
    Ok(Some(due.collect()))
}

fn woken_of(due: Due) -> Result<Woken, Error> {
    let (no, saga, id): (i64, String, String) = (due.row.get(0), due.row.get(1), due.row.get(2));
    let id = SagaId::new(id).map_err(|_| corrupt(format!("row {no} of table saga_log has no saga id")))?;
    let key = SagaKey { saga: saga.into(), id };
    Ok(Woken { key, version: due.version.unsigned_abs(), taken_over: due.taken_over })
}

/// Drops tombstones that have stood for the idempotency window, now and then.
async fn prune(inner: &Inner, connection: &mut PgConnection) -> Result<(), Error> {
    let now = Instant::now();
    if inner.known().prune_at.is_some_and(|at| now < at) {
        return Ok(());
    }
    let prune = sqlx::query(PRUNE).bind(window_ms(inner)).bind(PRUNED_MAX).execute(connection).await;
    let pruned = prune.map_err(|error| told("old sagas cannot be pruned", error))?.rows_affected();
    let is_all = pruned < PRUNED_MAX.unsigned_abs();
    inner.known().prune_at = is_all.then(|| now + PRUNE_INTERVAL);
    Ok(())
}
