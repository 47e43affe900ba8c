//! Which sagas are due, and the pruning of what is too old.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Row};
use saga_core::Error;
use saga_core::ports::Woken;
use saga_core::record::{DefinitionRef, SagaId, SagaKey, Timestamp};

use super::lease::run_out;
use super::read::kept_since;
use super::writer::Writer;
use crate::error::told;
use crate::stored::{corrupt, to_column};

/// How often settled sagas that are too old are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_millis(100);
/// At most this many are pruned at a time, so that no append waits long for it.
const PRUNED_MAX: usize = 4_096;

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

pub(super) fn wake(writer: &mut Writer, wake: Wake<'_>) -> Result<Vec<Woken>, Error> {
    let now = writer.clock.now();
    if wake.definitions.iter().any(|definition| writer.known.number(definition).is_none()) {
        writer.read_definitions()?;
    }
    let numbers = wake.definitions.iter().filter_map(|definition| writer.known.number(definition));
    let numbers = format!("[{}]", numbers.map(|no| no.to_string()).collect::<Vec<_>>().join(","));
    let prune = (now >= writer.prune_at).then(|| kept_since(now, writer.idempotency_window));
    match transact(writer, &wake, numbers, now, prune) {
        Ok(done) => {
            if prune.is_some() && done.pruned < PRUNED_MAX {
                writer.prune_at = now.after(PRUNE_INTERVAL);
            }
            if done.pruned + done.moved > 0 {
                writer.committed();
            }
            let due = done.due.ok_or_else(|| run_out(wake.owner, wake.epoch))?;
            due.into_iter().map(|due| due.woken(wake.epoch)).collect()
        }
        Err(error) => {
            writer.roll_back();
            Err(told("the saga log cannot say which sagas are due", error))
        }
    }
}

/// What was done.
#[derive(Default)]
struct Done {
    /// The due ones, unless the lease has run out.
    due: Option<Vec<Due>>,
    /// How many sagas were filed anew or taken over.
    moved: usize,
    pruned: usize,
}

fn transact(
    writer: &Writer,
    wake: &Wake<'_>,
    definitions: String,
    now: Timestamp,
    prune: Option<i64>,
) -> rusqlite::Result<Done> {
    let (epoch, now, connection) = (wake.epoch as i64, to_column(now), &writer.connection);
    writer.begin()?;
    let alive = "SELECT 1 FROM saga_log_leases WHERE epoch = ? AND owner = ? AND until > ?";
    let mut done = Done::default();
    if connection.prepare_cached(alive)?.exists((epoch, &**wake.owner, now))? {
        let mut lanes = connection.prepare_cached(LANES)?;
        let lanes = lanes.query_map((definitions, epoch, now), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let max = i64::try_from(wake.max).unwrap_or(i64::MAX);
        let mut all = Vec::new();
        for lane in lanes.collect::<rusqlite::Result<Vec<_>>>()? {
            let (due, refiled) = due_in(connection, lane, now, max)?;
            all.extend(due);
            done.moved += refiled;
        }
        all.sort_by_key(|due| (due.line_at, due.no));
        all.truncate(wake.max);
        done.moved += take_over(connection, &all, epoch)?;
        done.due = Some(all);
    }
    if let Some(before) = prune {
        done.pruned = connection.prepare_cached(PRUNE)?.execute((before, PRUNED_MAX as i64))?;
    }
    writer.commit()?;
    Ok(done)
}

/// The due ones of a queue, the longest due first, and how many were filed anew for it.
fn due_in(
    connection: &Connection,
    (definition, owner): (i64, i64),
    now: i64,
    max: i64,
) -> rusqlite::Result<(Vec<Due>, usize)> {
    let lane = (definition, owner, now, max);
    let mut all = 0;
    loop {
        let refiled = connection.prepare_cached(REFILE)?.execute(lane)?;
        if refiled == 0 {
            let mut due = connection.prepare_cached(DUE)?;
            let due = due.query_map(lane, Due::of)?.collect::<rusqlite::Result<_>>()?;
            return Ok((due, all));
        }
        all += refiled;
    }
}

fn take_over(connection: &Connection, due: &[Due], epoch: i64) -> rusqlite::Result<usize> {
    let others = due.iter().filter(|due| due.owner != epoch);
    let others: Vec<_> = others.map(|due| due.no.to_string()).collect();
    if others.is_empty() {
        return Ok(0);
    }
    let update = "UPDATE saga_log SET owner = ? WHERE no IN (SELECT value FROM json_each(?))";
    connection.prepare_cached(update)?.execute((epoch, format!("[{}]", others.join(","))))
}

/// A saga that is to be woken.
struct Due {
    no: i64,
    saga: String,
    id: String,
    version: i64,
    owner: i64,
    line_at: i64,
}

impl Due {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            no: row.get(0)?,
            saga: row.get(1)?,
            id: row.get(2)?,
            version: row.get(3)?,
            owner: row.get(4)?,
            line_at: row.get(5)?,
        })
    }

    fn woken(self, epoch: u64) -> Result<Woken, Error> {
        let no = self.no;
        let id = SagaId::new(self.id)
            .map_err(|_| corrupt(format!("row {no} of table saga_log has no saga id")))?;
        Ok(Woken {
            key: SagaKey { saga: self.saga.into(), id },
            version: self.version.unsigned_abs(),
            taken_over: self.owner.unsigned_abs() != epoch,
        })
    }
}
