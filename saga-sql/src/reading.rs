//! Records and summaries, put together from columns. The same for every database.

use saga_core::Error;
use saga_core::ports::{Record, StoredSaga, Summary, Tombstone};
use saga_core::record::{DefinitionRef, Digest, RunId, SagaId, SagaKey, Status};

use crate::stored::{corrupt, ending, from_column, named, read_cause, read_digest, read_entries};

/// A saga's row.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) run: &'a str,
    pub(crate) status: &'a str,
    pub(crate) version: i64,
    pub(crate) wake_at: Option<i64>,
    pub(crate) settled_at: Option<i64>,
    pub(crate) input_digest: Option<&'a str>,
    pub(crate) cause: Option<&'a str>,
    pub(crate) changed_at: i64,
}

/// The entries of one append.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) seq: i64,
    pub(crate) format: i64,
    pub(crate) entries: &'a str,
}

/// Puts a record together; what does not fit is corrupt, and the error says where.
pub(crate) fn assemble(
    key: &SagaKey,
    header: Header<'_>,
    definition: Option<DefinitionRef>,
    parts: &[Part<'_>],
) -> Result<Record, Error> {
    let status: Status = named(&format!("saga {key}: its status in table saga_log"), header.status)?;
    let run = run(key, header.run)?;
    if header.settled_at.is_some() {
        let digest = header.input_digest.unwrap_or_default();
        return Ok(Record::Tombstone(Tombstone {
            run,
            input_digest: read_digest(key, digest)?,
            ending: ending(status)?,
            cause: header.cause.map(|cause| read_cause(key, cause)).transpose()?.map(Box::new),
            ended_at: from_column(header.changed_at),
        }));
    }
    let mut entries = Vec::new();
    for part in parts {
        if part.seq != entries.len() as i64 {
            return Err(corrupt(format!(
                "saga {key}: after {} entries in table saga_log_entries comes number {}",
                entries.len(),
                part.seq
            )));
        }
        entries.extend(read_entries(key, part.seq, part.format, part.entries)?);
    }
    if entries.len() as i64 != header.version {
        let (count, version) = (entries.len(), header.version);
        let message = format!("saga {key}: there are {count} entries, and table saga_log says {version}");
        return Err(corrupt(message));
    }
    let definition =
        definition.ok_or_else(|| corrupt(format!("saga {key}: its definition is not in the saga log")))?;
    Ok(Record::Stored(StoredSaga {
        run,
        definition,
        version: header.version.unsigned_abs(),
        entries,
        status,
        wake_at: header.wake_at.map(from_column),
    }))
}

fn run(key: &SagaKey, text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| corrupt(format!("saga {key}: its run in table saga_log is no run id")))
}

/// A row of the table of definitions.
pub(crate) fn definition(no: i64, name: String, version: i64, digest: &str) -> Result<DefinitionRef, Error> {
    let parsed = u32::try_from(version).ok().zip(u64::from_str_radix(digest, 16).ok());
    let (version, digest) =
        parsed.ok_or_else(|| corrupt(format!("row {no} of table saga_log_definitions cannot be read")))?;
    Ok(DefinitionRef { name: name.into(), version, digest: Digest(digest) })
}

/// A line of a list; `times` are when it changed and when it is to be woken.
pub(crate) fn summary(
    saga: String,
    id: String,
    run_text: &str,
    status: &str,
    times: (i64, Option<i64>),
    definition: Option<DefinitionRef>,
) -> Result<Summary, Error> {
    let id = SagaId::new(id).map_err(|error| corrupt(format!("table saga_log: {error}")))?;
    let key = SagaKey { saga: saga.into(), id };
    Ok(Summary {
        run: run(&key, run_text)?,
        status: named(&format!("saga {key}: its status in table saga_log"), status)?,
        key,
        definition,
        changed_at: from_column(times.0),
        wake_at: times.1.map(from_column),
    })
}
