//! What operators did.

use rusqlite::params;
use saga_core::Error;
use saga_core::ports::{Append, AppendError, Audited, Version};
use saga_core::record::SagaKey;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::writer::Writer;
use crate::audit::{Line, audited, of_batch};
use crate::error::told;
use crate::reading::definition;
use crate::stored::FORMAT;

const FILE: &str =
    "INSERT INTO saga_log_audit (saga, id, run, definition, format, entry) VALUES (?, ?, ?, ?, ?, ?)";

const READ: &str = "\
    SELECT a.no, a.saga, a.id, a.run, a.format, a.entry, d.no, d.name, d.version, d.digest \
    FROM saga_log_audit a JOIN saga_log_definitions d ON d.no = a.definition \
    WHERE ?1 IS NULL OR (a.saga = ?1 AND a.id = ?2) ORDER BY a.no LIMIT ?3";

/// Files what operators did in a batch, with the batch.
pub(super) fn file(
    writer: &Writer,
    batch: &[Append],
    answers: &[Result<Version, AppendError>],
) -> Result<(), Error> {
    for (append, entry) in of_batch(batch, answers)? {
        let Append { key, run, definition, .. } = append;
        let number = writer.known.number(definition);
        let row = params![&*key.saga, key.id.as_str(), run.to_string(), number, FORMAT, entry];
        let filed = writer.connection.prepare_cached(FILE).and_then(|mut file| file.execute(row));
        filed.map_err(|error| told("what operators did cannot be filed in the saga log", error))?;
    }
    Ok(())
}

pub(super) async fn read(
    readers: &SqlitePool,
    key: Option<SagaKey>,
    limit: usize,
) -> Result<Vec<Audited>, Error> {
    let (saga, id) = key.map(|key| (key.saga.to_string(), key.id.to_string())).unzip();
    let read = sqlx::query(READ).bind(saga).bind(id).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = read.fetch_all(readers).await;
    let rows = rows.map_err(|error| told("what operators did cannot be read from the saga log", error))?;
    let lines = rows.iter().map(|row| {
        let (no, saga, id, run) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let line = Line { no, saga, id, run, format: row.get(4), entry: row.get(5) };
        audited(line, definition(row.get(6), row.get(7), row.get(8), row.get(9))?)
    });
    lines.collect()
}
