//! The usual batch in one statement, and so in one round trip: sagas that are as they are expected to be, and sagas that are new. What does
//! not fit takes no effect here, and [`append`](super::append) finds out why.

use std::collections::{HashMap, HashSet};

use saga_core::ports::{Append, Version};
use saga_core::record::DefinitionRef;
use sqlx::Row;
use sqlx::postgres::{PgConnection, Postgres};

use super::append::WHAT;
use super::log::Inner;
use crate::error::{may_be_one_of_many, told};
use crate::plan::Failure;
use crate::stored::{FORMAT, to_column, write_cause, write_digest, write_entries};

/// Rows are locked in one order for everybody, those that are known before those that are new, so that batches which overlap wait for each
/// other at most. A saga's line is never put off, unless it has come up: see [`Line`](crate::plan::Line).
///
/// `CASE` keeps the planner from joining what it has no statistics of: it looks the number up in a table of its own making.
const APPEND: &str = "\
    WITH at_once AS MATERIALIZED (SELECT saga_log_now() AS now), \
    locked AS ( \
        SELECT w.*, l.no FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], \
            $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[]) \
            w (at, saga, id, run, definition, expected, version, status, changed_at, wake_at, owner, digest, cause, entries) \
        JOIN saga_log l ON l.saga = w.saga AND l.id = w.id \
        WHERE l.version = w.expected AND l.run = w.run AND l.definition = w.definition \
        ORDER BY l.no FOR UPDATE OF l), \
    changed AS ( \
        UPDATE saga_log s SET status = k.status, version = k.version, wake_at = k.wake_at, owner = k.owner, \
            changed_at = coalesce(k.changed_at, s.changed_at), \
            definition = CASE WHEN k.digest IS NULL THEN s.definition END, \
            line_at = CASE WHEN k.wake_at IS NULL THEN NULL WHEN s.line_at <= (SELECT now FROM at_once) THEN k.wake_at \
                ELSE least(s.line_at, k.wake_at) END, \
            settled_at = CASE WHEN k.digest IS NOT NULL THEN (SELECT now FROM at_once) END, \
            input_digest = k.digest, cause = k.cause \
        FROM locked k WHERE s.no = k.no \
        RETURNING k.at, s.no, k.expected, k.entries, k.digest IS NOT NULL AS is_settled), \
    stored AS ( \
        INSERT INTO saga_log_entries (saga, seq, format, entries) \
        SELECT no, expected, $25, entries FROM changed WHERE entries IS NOT NULL), \
    deleted AS ( \
        DELETE FROM saga_log_entries e USING changed c WHERE c.is_settled AND e.saga = c.no), \
    fresh AS MATERIALIZED ( \
        SELECT w.*, nextval((SELECT pg_get_serial_sequence('saga_log', 'no')::regclass)) AS no \
        FROM unnest($15::bigint[], $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::text[], $22::bigint[], \
            $23::bigint[], $24::bigint[], $26::text[]) \
            w (at, saga, id, run, definition, version, status, changed_at, wake_at, owner, entries)), \
    filed AS ( \
        INSERT INTO saga_log (no, saga, id, run, status, definition, version, changed_at, wake_at, line_at, owner) \
        OVERRIDING SYSTEM VALUE \
        SELECT no, saga, id, run, status, definition, version, changed_at, wake_at, wake_at, owner FROM fresh \
        ON CONFLICT (saga, id) DO NOTHING RETURNING no), \
    begun AS ( \
        INSERT INTO saga_log_entries (saga, seq, format, entries) \
        SELECT no, 0, $25, entries FROM fresh WHERE CASE WHEN no IN (SELECT no FROM filed) THEN true END) \
    SELECT at FROM changed \
    UNION ALL SELECT at FROM fresh WHERE CASE WHEN no IN (SELECT no FROM filed) THEN true END";

/// Appends what is usual, and returns for each append its version, or `None` if it is still to be dealt with. A batch that holds something
/// unusual is left alone.
pub(super) async fn append(
    inner: &Inner,
    connection: &mut PgConnection,
    batch: &[Append],
) -> Result<Vec<Option<Version>>, Failure> {
    let mut answers = vec![None; batch.len()];
    let Some((known, fresh)) = rows(inner, batch) else { return Ok(answers) };
    let query = fresh.bind(known.bind(sqlx::query(APPEND)));
    let rows = query.fetch_all(connection).await.map_err(|error| {
        let error = told(WHAT, error);
        // Only what refuses the statement is sure to come before its commit: a server that is shut down may say so after it.
        if may_be_one_of_many(&error) { Failure::Before(error) } else { Failure::Committing(error) }
    })?;
    for row in rows {
        let at = row.get::<i64, _>(0).unsigned_abs() as usize;
        answers[at] = Some(batch[at].expected + batch[at].entries.len() as Version);
    }
    Ok(answers)
}

/// A batch as rows of arguments; `None` if something in it is unusual: two appends to one saga, what an operator did, what cannot be written.
fn rows(inner: &Inner, batch: &[Append]) -> Option<(Known, Fresh)> {
    let mut keys = HashSet::with_capacity(batch.len());
    if !batch.iter().all(|append| is_usual(append) && keys.insert(&append.key)) {
        return None;
    }
    let (mut known, mut fresh) = (Known::default(), Fresh::default());
    let mut new: Vec<_> = Vec::new();
    {
        let shared = inner.known();
        let owner = |append: &Append| match &append.owner {
            Some((name, epoch)) if shared.owners.get(epoch).is_some_and(|owner| owner == name) => {
                *epoch as i64
            }
            _ => 0,
        };
        for (at, append) in batch.iter().enumerate() {
            let definition = number(&shared.numbers, &append.definition)?;
            if append.expected == 0 {
                new.push((at, append, definition, owner(append)));
            } else {
                known.take(at, append, definition, owner(append))?;
            }
        }
    }
    // In one order for everybody.
    new.sort_unstable_by_key(|(_, append, ..)| &append.key);
    for (at, append, definition, owner) in new {
        fresh.take(at, append, definition, owner)?;
    }
    Some((known, fresh))
}

fn is_usual(append: &Append) -> bool {
    let begins = append.expected > 0 || !append.entries.is_empty() && append.settled.is_none();
    begins && !append.entries.iter().any(|entry| entry.fact.is_operators())
}

fn number(numbers: &HashMap<DefinitionRef, i64>, definition: &DefinitionRef) -> Option<i64> {
    numbers.get(definition).copied()
}

type Query<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

/// Sagas that are expected to be at some version: a value each.
#[derive(Default)]
struct Known {
    at: Vec<i64>,
    saga: Vec<String>,
    id: Vec<String>,
    run: Vec<String>,
    definition: Vec<i64>,
    expected: Vec<i64>,
    version: Vec<i64>,
    status: Vec<String>,
    /// `None` where it stays.
    changed_at: Vec<Option<i64>>,
    wake_at: Vec<Option<i64>>,
    owner: Vec<i64>,
    /// Of those that are settled.
    digest: Vec<Option<String>>,
    cause: Vec<Option<String>>,
    entries: Vec<Option<String>>,
}

impl Known {
    fn take(&mut self, at: usize, append: &Append, definition: i64, owner: i64) -> Option<()> {
        let Append { key, entries, settled, .. } = append;
        self.at.push(at as i64);
        self.saga.push(key.saga.to_string());
        self.id.push(key.id.to_string());
        self.run.push(append.run.to_string());
        self.definition.push(definition);
        self.expected.push(append.expected as i64);
        let Some(tombstone) = settled else {
            let text = if entries.is_empty() { None } else { Some(write_entries(key, entries).ok()?) };
            self.version.push(append.expected as i64 + entries.len() as i64);
            self.status.push(append.status.to_string());
            self.changed_at.push(entries.last().map(|last| to_column(last.at)));
            self.wake_at.push(append.wake_at.map(to_column));
            self.owner.push(owner);
            self.digest.push(None);
            self.cause.push(None);
            self.entries.push(text);
            return Some(());
        };
        // Only its tombstone stays.
        let cause = tombstone.cause.as_deref().map(|cause| write_cause(key, cause)).transpose().ok()?;
        self.version.push(0);
        self.status.push(saga_core::record::Status::from(tombstone.ending).to_string());
        self.changed_at.push(Some(to_column(tombstone.ended_at)));
        self.wake_at.push(None);
        self.owner.push(0);
        self.digest.push(Some(write_digest(tombstone.input_digest)));
        self.cause.push(cause);
        self.entries.push(None);
        Some(())
    }

    fn bind(self, query: Query<'_>) -> Query<'_> {
        let query = query.bind(self.at).bind(self.saga).bind(self.id).bind(self.run).bind(self.definition);
        let query = query.bind(self.expected).bind(self.version).bind(self.status).bind(self.changed_at);
        let query = query.bind(self.wake_at).bind(self.owner).bind(self.digest).bind(self.cause);
        query.bind(self.entries)
    }
}

/// Sagas that must not exist: a value each.
#[derive(Default)]
struct Fresh {
    at: Vec<i64>,
    saga: Vec<String>,
    id: Vec<String>,
    run: Vec<String>,
    definition: Vec<i64>,
    version: Vec<i64>,
    status: Vec<String>,
    changed_at: Vec<i64>,
    wake_at: Vec<Option<i64>>,
    owner: Vec<i64>,
    entries: Vec<String>,
}

impl Fresh {
    fn take(&mut self, at: usize, append: &Append, definition: i64, owner: i64) -> Option<()> {
        let Append { key, entries, .. } = append;
        self.entries.push(write_entries(key, entries).ok()?);
        self.changed_at.push(to_column(entries.last()?.at));
        self.at.push(at as i64);
        self.saga.push(key.saga.to_string());
        self.id.push(key.id.to_string());
        self.run.push(append.run.to_string());
        self.definition.push(definition);
        self.version.push(entries.len() as i64);
        self.status.push(append.status.to_string());
        self.wake_at.push(append.wake_at.map(to_column));
        self.owner.push(owner);
        Some(())
    }

    fn bind(self, query: Query<'_>) -> Query<'_> {
        let query = query.bind(self.at).bind(self.saga).bind(self.id).bind(self.run).bind(self.definition);
        let query = query.bind(self.version).bind(self.status).bind(self.changed_at).bind(self.wake_at);
        query.bind(self.owner).bind(FORMAT).bind(self.entries)
    }
}
