//! What operators did, put together from columns and taken apart. The same for every database.

use saga_core::Error;
use saga_core::ports::{Append, AppendError, Audited, Version};
use saga_core::record::{DefinitionRef, Entry, SagaId, SagaKey};

use crate::stored::{corrupt, read_entries, write_entries};

/// The operators' entries of those appends that take effect, each as JSON.
pub(crate) fn of_batch<'a>(
    batch: &'a [Append],
    answers: &[Result<Version, AppendError>],
) -> Result<Vec<(&'a Append, String)>, Error> {
    let mut lines = Vec::new();
    for (append, _) in batch.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
        for entry in append.entries.iter().filter(|entry| entry.fact.is_operators()) {
            lines.push((append, write_entries(&append.key, std::slice::from_ref(entry))?));
        }
    }
    Ok(lines)
}

/// A row of table `saga_log_audit`.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) no: i64,
    pub(crate) saga: &'a str,
    pub(crate) id: &'a str,
    pub(crate) run: &'a str,
    pub(crate) format: i64,
    pub(crate) entry: &'a str,
}

pub(crate) fn audited(line: Line<'_>, definition: DefinitionRef) -> Result<Audited, Error> {
    let Line { no, saga, id, run, format, entry } = line;
    let broken = |what: &str| corrupt(format!("row {no} of table saga_log_audit has no {what}"));
    let key = SagaKey { saga: saga.into(), id: SagaId::new(id).map_err(|_| broken("saga id"))? };
    let run = run.parse().map_err(|_| broken("run id"))?;
    let entry: Option<Entry> = read_entries(&key, 0, format, entry)?.pop();
    Ok(Audited { key, run, definition, entry: entry.ok_or_else(|| broken("entry"))? })
}
