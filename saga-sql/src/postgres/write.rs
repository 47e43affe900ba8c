//! What a plan becomes in the tables: one statement for all sagas that are new, one for all that are known.

use std::collections::HashSet;

use saga_core::Error;
use saga_core::record::{SagaKey, Status, Timestamp};
use sqlx::postgres::PgConnection;
use sqlx::{Postgres, Row};

use super::log::Inner;
use crate::error::told;
use crate::plan::{Change, Fate, Kept, Line};
use crate::stored::{FORMAT, to_column, write_cause, write_digest};

const INSERT: &str = "\
    WITH filed AS ( \
        INSERT INTO saga_log (saga, id, run, status, definition, version, changed_at, wake_at, line_at, owner, \
            settled_at, input_digest, cause) \
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], \
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[]) \
        ON CONFLICT (saga, id) DO NOTHING RETURNING no, saga, id), \
    stored AS ( \
        INSERT INTO saga_log_entries (saga, seq, format, entries) \
        SELECT f.no, e.seq, $18, e.entries \
        FROM unnest($14::text[], $15::text[], $16::bigint[], $17::text[]) e (saga, id, seq, entries) \
        JOIN filed f ON f.saga = e.saga AND f.id = e.id) \
    SELECT saga, id FROM filed";

const WRITE: &str = "\
    WITH filed AS ( \
        UPDATE saga_log s SET run = v.run, status = v.status, definition = v.definition, version = v.version, \
            changed_at = v.changed_at, wake_at = v.wake_at, line_at = v.line_at, owner = v.owner, \
            settled_at = v.settled_at, input_digest = v.input_digest, cause = v.cause \
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], \
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[]) \
            v (no, run, status, definition, version, changed_at, wake_at, line_at, owner, settled_at, input_digest, cause) \
        WHERE s.no = v.no), \
    updated AS ( \
        UPDATE saga_log s SET version = v.version, status = v.status, changed_at = v.changed_at, wake_at = v.wake_at \
        FROM unnest($13::bigint[], $14::bigint[], $15::text[], $16::bigint[], $17::bigint[]) \
            v (no, version, status, changed_at, wake_at) \
        WHERE s.no = v.no), \
    stored AS ( \
        INSERT INTO saga_log_entries (saga, seq, format, entries) \
        SELECT e.saga, e.seq, $21, e.entries \
        FROM unnest($18::bigint[], $19::bigint[], $20::text[]) e (saga, seq, entries)) \
    DELETE FROM saga_log_entries WHERE saga = ANY($22)";

/// Inserts sagas that were not there, and returns those that are there by now, because someone else was first.
pub(super) async fn insert_new(
    inner: &Inner,
    connection: &mut PgConnection,
    mut changes: Vec<Change>,
    now: Timestamp,
) -> Result<Vec<Change>, Error> {
    // In one order for everybody: whoever inserts the same waits, and nobody waits in a circle.
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    let (mut sagas, mut ids, mut filed) = (Vec::new(), Vec::new(), Columns::default());
    let mut entries = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in &mut changes {
        let texts = filed.take(inner, &change.key, &mut change.fate, now)?;
        sagas.push(change.key.saga.to_string());
        ids.push(change.key.id.to_string());
        for (seq, text) in texts {
            entries.0.push(change.key.saga.to_string());
            entries.1.push(change.key.id.to_string());
            entries.2.push(seq);
            entries.3.push(text);
        }
    }
    let query = filed.bind(sqlx::query(INSERT).bind(sagas).bind(ids));
    let query = query.bind(entries.0).bind(entries.1).bind(entries.2).bind(entries.3).bind(FORMAT);
    let rows = query.fetch_all(connection).await;
    let rows = rows.map_err(|error| told("new sagas cannot be appended to the saga log", error))?;
    if rows.len() == changes.len() {
        return Ok(Vec::new());
    }
    let ours: HashSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let is_ours = |key: &SagaKey| ours.contains(&(key.saga.to_string(), key.id.to_string()));
    changes.retain(|change| !is_ours(&change.key));
    Ok(changes)
}

/// Writes what becomes of sagas whose rows are locked.
pub(super) async fn write_known(
    inner: &Inner,
    connection: &mut PgConnection,
    changes: Vec<Change>,
    now: Timestamp,
) -> Result<(), Error> {
    let (mut numbers, mut filed, mut updated) = (Vec::new(), Columns::default(), Updated::default());
    let mut entries = (Vec::new(), Vec::new(), Vec::new());
    let mut deleted = Vec::new();
    for mut change in changes {
        let no = change.no.expect("it is known");
        let texts = match &mut change.fate {
            Fate::Live(kept) if !kept.is_refiled => updated.take(no, kept),
            fate => {
                numbers.push(no);
                filed.take(inner, &change.key, fate, now)?
            }
        };
        for (seq, text) in texts {
            entries.0.push(no);
            entries.1.push(seq);
            entries.2.push(text);
        }
        if change.had_entries && matches!(change.fate, Fate::Settled(_)) {
            deleted.push(no);
        }
    }
    let query = filed.bind(sqlx::query(WRITE).bind(numbers));
    let query = query.bind(updated.no).bind(updated.version).bind(updated.status);
    let query = query.bind(updated.changed_at).bind(updated.wake_at);
    let query = query.bind(entries.0).bind(entries.1).bind(entries.2).bind(FORMAT).bind(deleted);
    let written = query.execute(connection).await.map(drop);
    written.map_err(|error| told("the append to the saga log failed", error))
}

/// The columns of sagas that are filed, one value a saga.
#[derive(Default)]
struct Columns {
    run: Vec<String>,
    status: Vec<String>,
    definition: Vec<Option<i64>>,
    version: Vec<i64>,
    changed_at: Vec<i64>,
    wake_at: Vec<Option<i64>>,
    line_at: Vec<Option<i64>>,
    owner: Vec<i64>,
    settled_at: Vec<Option<i64>>,
    input_digest: Vec<Option<String>>,
    cause: Vec<Option<String>>,
}

type Texts = Vec<(i64, String)>;
type Query<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

impl Columns {
    /// Takes a saga up, and returns its new entries.
    fn take(
        &mut self,
        inner: &Inner,
        key: &SagaKey,
        fate: &mut Fate,
        now: Timestamp,
    ) -> Result<Texts, Error> {
        match fate {
            Fate::Live(kept) => {
                let definition = inner.known().numbers.get(&kept.definition).copied();
                self.run.push(kept.run.to_string());
                self.row(kept.status, definition, kept.version as i64, kept.changed_at);
                self.wait(kept.wake_at, kept.line);
                self.settle(None, None, None);
                Ok(texts(kept))
            }
            Fate::Settled(tombstone) => {
                let cause = tombstone.cause.as_deref().map(|cause| write_cause(key, cause)).transpose()?;
                self.run.push(tombstone.run.to_string());
                self.row(tombstone.ending.into(), None, 0, tombstone.ended_at);
                self.wait(None, Line::default());
                self.settle(Some(to_column(now)), Some(write_digest(tombstone.input_digest)), cause);
                Ok(Vec::new())
            }
        }
    }

    fn row(&mut self, status: Status, definition: Option<i64>, version: i64, changed_at: Timestamp) {
        self.status.push(status.to_string());
        self.definition.push(definition);
        self.version.push(version);
        self.changed_at.push(to_column(changed_at));
    }

    fn wait(&mut self, wake_at: Option<Timestamp>, line: Line) {
        self.wake_at.push(wake_at.map(to_column));
        self.line_at.push(line.at.map(to_column));
        self.owner.push(line.owner as i64);
    }

    fn settle(&mut self, at: Option<i64>, digest: Option<String>, cause: Option<String>) {
        self.settled_at.push(at);
        self.input_digest.push(digest);
        self.cause.push(cause);
    }

    fn bind(self, query: Query<'_>) -> Query<'_> {
        let query = query.bind(self.run).bind(self.status).bind(self.definition).bind(self.version);
        let query = query.bind(self.changed_at).bind(self.wake_at).bind(self.line_at).bind(self.owner);
        query.bind(self.settled_at).bind(self.input_digest).bind(self.cause)
    }
}

/// The columns of sagas that stand where they stood.
#[derive(Default)]
struct Updated {
    no: Vec<i64>,
    version: Vec<i64>,
    status: Vec<String>,
    changed_at: Vec<i64>,
    wake_at: Vec<Option<i64>>,
}

impl Updated {
    fn take(&mut self, no: i64, kept: &mut Kept) -> Texts {
        self.no.push(no);
        self.version.push(kept.version as i64);
        self.status.push(kept.status.to_string());
        self.changed_at.push(to_column(kept.changed_at));
        self.wake_at.push(kept.wake_at.map(to_column));
        texts(kept)
    }
}

fn texts(kept: &mut Kept) -> Texts {
    std::mem::take(&mut kept.entries).into_iter().map(|(seq, text)| (seq as i64, text)).collect()
}
