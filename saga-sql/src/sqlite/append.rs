//! The group commit.

use std::collections::HashMap;

use rusqlite::{Connection, Row, params};
use saga_core::Error;
use saga_core::ports::{Append, AppendError, Tombstone, Version};
use saga_core::record::{RunId, SagaKey, Status};

use super::audit;
use super::writer::{Known, Writer};
use crate::error::{may_be_one_of_many, told};
use crate::plan::{Before, Change, Failure, Fate, Filed, Kept, Line, Live, Plan, What};
use crate::stored::{FORMAT, corrupt, from_column, to_column, write_cause, write_digest};

/// How many entries a saga can have: what is left of a place beside its number.
const ENTRIES_MAX: Version = 1 << 20;

const HIGHEST: &str = "SELECT coalesce(max(no), 0) FROM saga_log";

const READ: &str = "\
    SELECT no, run, definition, version, changed_at, line_at, owner, settled_at FROM saga_log \
    WHERE saga = ? AND id = ?";

const FILE: &str = "\
    INSERT INTO saga_log (no, run, status, definition, version, changed_at, wake_at, line_at, owner, saga, id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// For what stands elsewhere in the queue than before, perhaps as another run.
const REFILE: &str = "\
    UPDATE saga_log SET run = ?2, status = ?3, definition = ?4, version = ?5, changed_at = ?6, wake_at = ?7, line_at = ?8, owner = ?9, \
        settled_at = NULL, input_digest = NULL, cause = NULL \
    WHERE no = ?1";

/// For what stands where it stood: it leaves the indexes alone.
const UPDATE: &str =
    "UPDATE saga_log SET version = ?2, status = ?3, changed_at = ?4, wake_at = ?5 WHERE no = ?1";

const ADD_ENTRIES: &str = "INSERT INTO saga_log_entries (place, format, entries) VALUES (?, ?, ?)";

/// The number, the run, the status, the moment of the end, the moment of settling, the input's digest, the cause, the saga, the id.
const FILE_SETTLED: &str = "\
    INSERT INTO saga_log (no, run, status, version, changed_at, owner, settled_at, input_digest, cause, saga, id) \
    VALUES (?1, ?2, ?3, 0, ?4, 0, ?5, ?6, ?7, ?8, ?9)";

const SETTLE: &str = "\
    UPDATE saga_log SET run = ?2, status = ?3, definition = NULL, version = 0, changed_at = ?4, wake_at = NULL, line_at = NULL, owner = 0, \
        settled_at = ?5, input_digest = ?6, cause = ?7 \
    WHERE no = ?1";

const DELETE_ENTRIES: &str = "DELETE FROM saga_log_entries WHERE place BETWEEN ?1 AND ?1 + 1048575";

type Answers = Vec<Result<Version, AppendError>>;

/// Appends a batch in one transaction. If one append is not to be had, the others are committed without it.
pub(super) fn commit(writer: &mut Writer, batch: &[Append]) -> Answers {
    match transact(writer, batch) {
        Ok(answers) => answers,
        Err(Failure::Before(error)) if may_be_one_of_many(&error) && batch.len() > 1 => {
            writer.roll_back();
            let (first, second) = batch.split_at(batch.len() / 2);
            let mut answers = commit(writer, first);
            answers.extend(commit(writer, second));
            answers
        }
        Err(failure) => {
            writer.roll_back();
            failure.answers(batch.len())
        }
    }
}

fn transact(writer: &mut Writer, batch: &[Append]) -> Result<Answers, Failure> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    for append in batch {
        writer.number(&append.definition)?;
    }
    let failed = |error| told("the append to the saga log failed", error);
    writer.begin().map_err(failed)?;
    let filed = read(writer, batch)?;
    read_owners(writer, batch)?;
    let owners = &writer.known.owners;
    let owner = |name: &str, epoch| {
        if owners.get(&epoch).is_some_and(|owner| **owner == *name) { epoch } else { 0 }
    };
    let now = writer.clock.now();
    let before = Before { filed, now, idempotency_window: writer.idempotency_window, owner: &owner };
    let Plan { answers, changes } = Plan::of(batch, before);
    let is_written = !changes.is_empty();
    if is_written {
        let mut highest = read_highest(&writer.connection).map_err(failed)?;
        for change in changes {
            let is_new = change.no.is_none();
            highest += i64::from(is_new);
            let no = change.no.unwrap_or(highest);
            write(writer, (no, is_new), change, to_column(now))?;
        }
    }
    audit::file(writer, batch, &answers)?;
    writer.commit().map_err(|error| Failure::Committing(told("the commit to the saga log failed", error)))?;
    if is_written {
        writer.committed();
    }
    Ok(answers)
}

/// The highest number given.
fn read_highest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(HIGHEST)?.query_one((), |row| row.get(0))
}

/// How the batch's sagas are filed.
fn read(writer: &mut Writer, batch: &[Append]) -> Result<HashMap<SagaKey, Filed>, Error> {
    let mut filed = HashMap::with_capacity(batch.len());
    for Append { key, .. } in batch {
        if let Some(found) = read_one(&writer.connection, key).map_err(unreadable)? {
            if found.definition.is_some_and(|no| writer.known.definition(no).is_none()) {
                writer.read_definitions()?;
            }
            filed.insert(key.clone(), found.filed(&writer.known)?);
        }
    }
    Ok(filed)
}

fn unreadable(error: rusqlite::Error) -> Error {
    told("the saga log cannot be read before an append", error)
}

fn read_one(connection: &Connection, key: &SagaKey) -> rusqlite::Result<Option<Found>> {
    let mut read = connection.prepare_cached(READ)?;
    let mut rows = read.query((&*key.saga, key.id.as_str()))?;
    rows.next()?.map(Found::of).transpose()
}

/// A row of the table of sagas.
struct Found {
    no: i64,
    run: Option<RunId>,
    definition: Option<i64>,
    version: i64,
    changed_at: i64,
    line_at: Option<i64>,
    owner: i64,
    settled_at: Option<i64>,
}

impl Found {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            no: row.get(0)?,
            run: row.get_ref(1)?.as_str()?.parse().ok(),
            definition: row.get(2)?,
            version: row.get(3)?,
            changed_at: row.get(4)?,
            line_at: row.get(5)?,
            owner: row.get(6)?,
            settled_at: row.get(7)?,
        })
    }

    fn filed(self, known: &Known) -> Result<Filed, Error> {
        let no = self.no;
        let broken = |what: &str| corrupt(format!("row {no} of table saga_log has {what}"));
        if let Some(settled_at) = self.settled_at {
            return Ok(Filed { no, what: What::Tomb(from_column(settled_at)) });
        }
        let definition = self.definition.and_then(|no| known.definition(no));
        let live = Live {
            run: self.run.ok_or_else(|| broken("no run id"))?,
            definition: definition.cloned().ok_or_else(|| broken("no definition"))?,
            version: self.version.unsigned_abs(),
            changed_at: from_column(self.changed_at),
            line: Line { at: self.line_at.map(from_column), owner: self.owner.unsigned_abs() },
        };
        Ok(Filed { no, what: What::Live(live) })
    }
}

/// Reads whose the batch's leases are, unless it is known.
fn read_owners(writer: &mut Writer, batch: &[Append]) -> Result<(), Error> {
    let is_known = |append: &Append| {
        append.owner.as_ref().is_none_or(|(_, epoch)| writer.known.owners.contains_key(epoch))
    };
    if batch.iter().all(is_known) {
        return Ok(());
    }
    let failed = |error| told("the leases in the saga log cannot be read", error);
    let mut leases =
        writer.connection.prepare_cached("SELECT epoch, owner FROM saga_log_leases").map_err(failed)?;
    let rows = leases.query_map((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    for row in rows.map_err(failed)? {
        let (epoch, owner) = row.map_err(failed)?;
        writer.known.owners.insert(epoch.unsigned_abs(), owner.into());
    }
    Ok(())
}

/// Writes what becomes of one saga, under its number, which may be new.
fn write(writer: &Writer, (no, is_new): (i64, bool), change: Change, now: i64) -> Result<(), Error> {
    let Change { key, had_entries, fate, .. } = change;
    let failed = |error| told(format!("the append to saga {key} in the saga log failed"), error);
    match fate {
        Fate::Settled(tombstone) => {
            let cause = tombstone.cause.as_deref().map(|cause| write_cause(&key, cause)).transpose()?;
            settle(writer, (no, is_new), &key, (&tombstone, cause, now)).map_err(failed)?;
            if had_entries {
                let deleted = writer.connection.prepare_cached(DELETE_ENTRIES);
                deleted.and_then(|mut delete| delete.execute([no << 20])).map_err(failed)?;
            }
            Ok(())
        }
        Fate::Live(kept) if kept.version > ENTRIES_MAX => {
            let message = format!("saga {key} has more than {ENTRIES_MAX} entries: it cannot go on");
            Err(Error::new(saga_core::ErrorKind::Permanent, message))
        }
        Fate::Live(kept) => keep(writer, (no, is_new), &key, &kept).map_err(failed),
    }
}

fn settle(
    writer: &Writer,
    (no, is_new): (i64, bool),
    key: &SagaKey,
    (tombstone, cause, now): (&Tombstone, Option<String>, i64),
) -> rusqlite::Result<()> {
    let (run, status) = (tombstone.run.to_string(), Status::from(tombstone.ending).to_string());
    let (ended_at, digest) = (to_column(tombstone.ended_at), write_digest(tombstone.input_digest));
    let connection = &writer.connection;
    if is_new {
        let (saga, id) = (&*key.saga, key.id.as_str());
        let row = params![no, run, status, ended_at, now, digest, cause, saga, id];
        connection.prepare_cached(FILE_SETTLED)?.execute(row)?;
    } else {
        let row = params![no, run, status, ended_at, now, digest, cause];
        connection.prepare_cached(SETTLE)?.execute(row)?;
    }
    Ok(())
}

fn keep(writer: &Writer, (no, is_new): (i64, bool), key: &SagaKey, kept: &Kept) -> rusqlite::Result<()> {
    let Writer { connection, known, .. } = writer;
    let (status, version) = (kept.status.to_string(), kept.version as i64);
    let (changed_at, wake_at) = (to_column(kept.changed_at), kept.wake_at.map(to_column));
    if is_new || kept.is_refiled {
        let (run, definition) = (kept.run.to_string(), known.number(&kept.definition));
        let (line_at, owner) = (kept.line.at.map(to_column), kept.line.owner as i64);
        if is_new {
            let (saga, id) = (&*key.saga, key.id.as_str());
            let row =
                params![no, run, status, definition, version, changed_at, wake_at, line_at, owner, saga, id];
            connection.prepare_cached(FILE)?.execute(row)?;
        } else {
            let row = params![no, run, status, definition, version, changed_at, wake_at, line_at, owner];
            connection.prepare_cached(REFILE)?.execute(row)?;
        }
    } else {
        connection.prepare_cached(UPDATE)?.execute(params![no, version, status, changed_at, wake_at])?;
    }
    for (seq, text) in &kept.entries {
        let place = no << 20 | *seq as i64;
        connection.prepare_cached(ADD_ENTRIES)?.execute(params![place, FORMAT, text])?;
    }
    Ok(())
}
