//! For the project's own fuzzing, and nobody else: it may change at any time.

use saga_core::participant::barrier::Row;
use saga_core::ports::{Record, Task};
use saga_core::record::{Entry, Outline, SagaKey, Timestamp};
use saga_core::{Error, Message};

use crate::outbox::{ClaimedRow, NewRow};
use crate::reading::{self, Header};
use crate::{barrier, outbox, stored};

/// A row of its appends.
#[derive(Debug)]
pub struct Part<'a> {
    /// `seq`.
    pub seq: i64,
    /// `format`.
    pub format: i64,
    /// `entries`.
    pub entries: &'a str,
}

/// The columns of a saga's row.
#[derive(Debug)]
pub struct Columns<'a> {
    /// `run`.
    pub run: &'a str,
    /// `status`.
    pub status: &'a str,
    /// `version`.
    pub version: i64,
    /// `wake_at`.
    pub wake_at: Option<i64>,
    /// `settled_at`.
    pub settled_at: Option<i64>,
    /// `input_digest`.
    pub input_digest: Option<&'a str>,
    /// `cause`.
    pub cause: Option<&'a str>,
    /// `changed_at`.
    pub changed_at: i64,
    /// Its definition's name, version and digest.
    pub definition: (String, i64, &'a str),
}

/// The saga that its row and its appends make.
///
/// # Errors
/// [`Corrupt`](saga_core::ErrorKind::Corrupt) when they make none.
pub fn read_saga(key: &SagaKey, columns: Columns<'_>, parts: &[Part<'_>]) -> Result<Record, Error> {
    let (name, version, digest) = columns.definition;
    let definition = reading::definition(1, name, version, digest)?;
    let header = Header {
        run: columns.run,
        status: columns.status,
        version: columns.version,
        wake_at: columns.wake_at,
        settled_at: columns.settled_at,
        input_digest: columns.input_digest,
        cause: columns.cause,
        changed_at: columns.changed_at,
    };
    let parts: Vec<_> = parts
        .iter()
        .map(|part| reading::Part { seq: part.seq, format: part.format, entries: part.entries })
        .collect();
    reading::assemble(key, header, Some(definition), &parts)
}

/// Entries as they are stored.
///
/// # Errors
/// [`Invalid`](saga_core::ErrorKind::Invalid) when they cannot be.
pub fn written_entries(key: &SagaKey, entries: &[Entry]) -> Result<String, Error> {
    stored::write_entries(key, entries)
}

/// Reads an outline, if it is one, writes it, and reads it again.
///
/// # Errors
/// Says what was written, if that is not read as the same outline.
pub fn outline_again(text: &str) -> Result<(), String> {
    // Only what was stored is read by `read_outline`, and what cannot be read is logged there.
    let Ok(outline) = serde_json::from_str::<Outline>(text) else { return Ok(()) };
    let written = stored::write_outline(&outline).map_err(|error| error.to_string())?;
    let again = stored::read_outline("fuzz", &written);
    if again == Some(outline) { Ok(()) } else { Err(written) }
}

/// A row of the barrier.
///
/// # Errors
/// [`Corrupt`](saga_core::ErrorKind::Corrupt) when it is none.
pub fn read_barrier_row(task: &Task, state: &str) -> Result<Row, Error> {
    barrier::read_row(task, stored::FORMAT, state)
}

/// A row of the barrier as it is stored.
///
/// # Errors
/// [`Permanent`](saga_core::ErrorKind::Permanent) when it cannot be.
pub fn written_barrier_row(task: &Task, row: &Row, at: Timestamp) -> Result<String, Error> {
    barrier::write_row(task, row, at).map(|row| row.state)
}

/// A message as it is put into the outbox.
///
/// # Errors
/// [`Invalid`](saga_core::ErrorKind::Invalid) when the outbox does not take it.
pub fn outbox_row(message: &Message) -> Result<NewRow, Error> {
    NewRow::of(message)
}

/// The message of a row of the outbox.
///
/// # Errors
/// [`Corrupt`](saga_core::ErrorKind::Corrupt) when it is none.
pub fn outbox_message(row: NewRow) -> Result<Message, Error> {
    outbox::message_of(ClaimedRow { number: 1, row, attempts: 0 })
}
