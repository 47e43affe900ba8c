//! Which sagas are due, and the pruning of what is too old.

use std::sync::Arc;
use std::time::Duration;

use saga_core::Error;
use saga_core::ports::Woken;
use saga_core::record::{DefinitionRef, SagaId, SagaKey, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::lease::run_out;
use super::read::kept_since;
use super::writer::Writer;
use crate::error::told;
use crate::stored::{corrupt, to_column};

/// How often settled sagas that are too old are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_millis(100);
/// At most this many are pruned at a time, so that no append waits long for it.
const PRUNED_MAX: i64 = 4_096;

/// The queues in which sagas wait, one for each definition and owner: those that are nobody's, this lease's, or of a lease that has ended.
const LANES: &str = "\
    WITH RECURSIVE lanes(definition, owner) AS ( \
        SELECT d.value, (SELECT min(s.owner) FROM saga_log s WHERE s.definition = d.value) FROM json_each(?1) d \
        UNION ALL \
        SELECT l.definition, (SELECT min(s.owner) FROM saga_log s WHERE s.definition = l.definition AND s.owner > l.owner) \
        FROM lanes l WHERE l.owner IS NOT NULL) \
    SELECT l.definition, l.owner FROM lanes l WHERE l.owner IS NOT NULL AND (l.owner = ?2 OR NOT EXISTS ( \
        SELECT 1 FROM saga_log_leases x WHERE x.epoch = l.owner AND x.until > ?3))";

/// Files those anew that have been put off since they were filed, among the first of a queue.
const REFILE: &str = "\
    UPDATE saga_log SET line_at = wake_at WHERE wake_at > line_at AND no IN ( \
        SELECT no FROM saga_log WHERE definition = ?1 AND owner = ?2 AND line_at <= ?3 ORDER BY line_at LIMIT ?4)";

const DUE: &str = "\
    SELECT no, saga, id, version, owner, line_at FROM saga_log \
    WHERE definition = ?1 AND owner = ?2 AND line_at <= ?3 ORDER BY line_at LIMIT ?4";

const PRUNE: &str = "\
    DELETE FROM saga_log WHERE no IN ( \
        SELECT no FROM saga_log WHERE settled_at <= ? ORDER BY settled_at LIMIT ?)";

/// What is asked.
pub(super) struct Wake<'a> {
    pub(super) owner: &'a Arc<str>,
    pub(super) epoch: u64,
    pub(super) definitions: &'a [DefinitionRef],
    pub(super) max: usize,
}

pub(super) async fn wake(writer: &mut Writer, wake: Wake<'_>) -> Result<Vec<Woken>, Error> {
    let now = writer.clock.now();
    if wake.definitions.iter().any(|definition| writer.known.number(definition).is_none()) {
        writer.read_definitions().await?;
    }
    let numbers = wake.definitions.iter().filter_map(|definition| writer.known.number(definition));
    let numbers = format!("[{}]", numbers.map(|no| no.to_string()).collect::<Vec<_>>().join(","));
    let prune = (now >= writer.prune_at).then(|| kept_since(now, writer.idempotency_window));
    let connection = writer.connection().await?;
    let woken = transact(connection, &wake, numbers, now, prune).await;
    match woken {
        Ok(done) => {
            if prune.is_some() && done.pruned < PRUNED_MAX.unsigned_abs() {
                writer.prune_at = now.after(PRUNE_INTERVAL);
            }
            if done.pruned + done.moved > 0 {
                writer.committed();
            }
            done.due
                .ok_or_else(|| run_out(wake.owner, wake.epoch))?
                .iter()
                .map(woken_of(wake.epoch))
                .collect()
        }
        Err(error) => {
            writer.roll_back().await;
            Err(told("the saga log cannot say which sagas are due", error))
        }
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    /// The due ones, unless the lease has run out.
    due: Option<Vec<SqliteRow>>,
    /// How many sagas were filed anew or taken over.
    moved: u64,
    pruned: u64,
}

async fn transact(
    connection: &mut SqliteConnection,
    wake: &Wake<'_>,
    definitions: String,
    now: Timestamp,
    prune: Option<i64>,
) -> sqlx::Result<Done> {
    let (epoch, now) = (wake.epoch as i64, to_column(now));
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let alive = "SELECT 1 FROM saga_log_leases WHERE epoch = ? AND owner = ? AND until > ?";
    let alive = sqlx::query(alive).bind(epoch).bind(Arc::clone(wake.owner)).bind(now);
    let mut done = Done::default();
    if alive.fetch_optional(&mut *connection).await?.is_some() {
        let lanes = sqlx::query(LANES).bind(definitions).bind(epoch).bind(now);
        let lanes = lanes.fetch_all(&mut *connection).await?;
        let max = i64::try_from(wake.max).unwrap_or(i64::MAX);
        let mut rows = Vec::new();
        for lane in lanes {
            let (due, refiled) = due_in(connection, (lane.get(0), lane.get(1)), now, max).await?;
            rows.extend(due);
            done.moved += refiled;
        }
        rows.sort_by_key(|row| (row.get::<i64, _>(5), row.get::<i64, _>(0)));
        rows.truncate(wake.max);
        done.moved += take_over(connection, &rows, epoch).await?;
        done.due = Some(rows);
    }
    if let Some(before) = prune {
        let prune = sqlx::query(PRUNE).bind(before).bind(PRUNED_MAX);
        done.pruned = prune.execute(&mut *connection).await?.rows_affected();
    }
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(done)
}

/// The due ones of a queue, the longest due first, and how many were filed anew for it.
async fn due_in(
    connection: &mut SqliteConnection,
    (definition, owner): (i64, i64),
    now: i64,
    max: i64,
) -> sqlx::Result<(Vec<SqliteRow>, u64)> {
    let mut all = 0;
    loop {
        let bind = |sql| sqlx::query(sql).bind(definition).bind(owner).bind(now).bind(max);
        let refiled = bind(REFILE).execute(&mut *connection).await?.rows_affected();
        if refiled == 0 {
            return Ok((bind(DUE).fetch_all(connection).await?, all));
        }
        all += refiled;
    }
}

async fn take_over(connection: &mut SqliteConnection, rows: &[SqliteRow], epoch: i64) -> sqlx::Result<u64> {
    let others = rows.iter().filter(|row| row.get::<i64, _>(4) != epoch);
    let others: Vec<_> = others.map(|row| row.get::<i64, _>(0).to_string()).collect();
    if others.is_empty() {
        return Ok(0);
    }
    let update = "UPDATE saga_log SET owner = ? WHERE no IN (SELECT value FROM json_each(?))";
    let update = sqlx::query(update).bind(epoch).bind(format!("[{}]", others.join(",")));
    Ok(update.execute(connection).await?.rows_affected())
}

fn woken_of(epoch: u64) -> impl Fn(&SqliteRow) -> Result<Woken, Error> {
    move |row| {
        let (no, saga, id): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
        let id =
            SagaId::new(id).map_err(|_| corrupt(format!("row {no} of table saga_log has no saga id")))?;
        Ok(Woken {
            key: SagaKey { saga: saga.into(), id },
            version: row.get::<i64, _>(3).unsigned_abs(),
            taken_over: row.get::<i64, _>(4).unsigned_abs() != epoch,
        })
    }
}
