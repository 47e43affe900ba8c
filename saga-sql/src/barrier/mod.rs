//! The barrier's rows, put through the rules of the core. The same for every database.

mod backend;
mod handler;
mod transaction;

use std::collections::HashMap;
use std::time::Duration;

use saga_core::participant::barrier::Row;
use saga_core::ports::{Claim, ClaimAnswer, Completed, Completion, Task};
use saga_core::record::Timestamp;
use saga_core::{Error, ErrorKind};

pub use backend::{Backend, BarrierRow};
pub use handler::{TransactionHandler, TransactionHandlerWithUndo};
pub use transaction::{Committed, Entered, InTransaction, StepTransaction, in_transaction};

use crate::stored::{FORMAT, corrupt, to_column};

/// How long to wait with a delivery whose row someone is working on at this moment.
const LOCKED_RETRY: Duration = Duration::from_millis(100);
/// What the default retention of dead letters is on the brokers of this library: 30 days.
pub(crate) const COMMANDS_KEPT_FOR_MS: u64 = 30 * 24 * 3_600_000;
/// A day longer than commands.
pub(crate) const ROWS_KEPT_FOR_MS: u64 = COMMANDS_KEPT_FOR_MS + 24 * 3_600_000;
/// How long a handler's transaction may take.
pub(crate) const TRANSACTION_TIME_MAX_MS: u64 = 5_000;
/// How often old rows are looked for, and how many are dropped at a time.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const PRUNED_MAX: i64 = 4_096;

/// Checks that rows outlive the commands that may still come.
pub(crate) fn check_retention(rows_kept_for_ms: u64, commands_kept_for_ms: u64) -> Result<(), Error> {
    if rows_kept_for_ms >= commands_kept_for_ms {
        return Ok(());
    }
    let message = format!(
        "the barrier's rows would be kept for {rows_kept_for_ms} ms, and commands and their dead letters may live for \
         {commands_kept_for_ms} ms: one that comes later would be executed once more. Keep the rows for at least as long"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Rows that are locked, by their tasks.
#[derive(Debug, Default)]
pub(crate) struct Rows(HashMap<Task, (Result<Row, Error>, bool)>);

impl Rows {
    /// A row as it was read.
    pub(crate) fn add(&mut self, task: Task, format: i64, state: &str) {
        let row = read_row(&task, format, state);
        self.0.insert(task, (row, false));
    }

    #[cfg(feature = "sqlite")]
    /// A row that is not there yet.
    pub(crate) fn add_new(&mut self, task: Task) {
        self.0.insert(task, (Ok(Row::default()), false));
    }

    /// Claims; a row that is not here is locked by someone else.
    pub(crate) fn claim(
        &mut self,
        claims: &[Claim],
        horizon: Timestamp,
        now: Timestamp,
    ) -> Vec<Result<ClaimAnswer, Error>> {
        let answers = claims.iter().map(|claim| match self.0.get_mut(&claim.task) {
            None => Ok(ClaimAnswer::Busy { retry_after: LOCKED_RETRY }),
            Some((Err(error), _)) => Err(crate::error::copy(error)),
            Some((Ok(row), changed)) => {
                let answer = row.claim(claim, horizon, now);
                *changed |= !matches!(answer, ClaimAnswer::Busy { .. });
                Ok(answer)
            }
        });
        answers.collect()
    }

    /// Completes; a row that is not here is gone.
    pub(crate) fn complete(
        &mut self,
        completions: &[Completion],
        now: Timestamp,
    ) -> Vec<Result<Completed, Error>> {
        let answers = completions.iter().map(|completion| match self.0.get_mut(&completion.task) {
            None => Err(gone(&completion.task)),
            Some((Err(error), _)) => Err(crate::error::copy(error)),
            Some((Ok(row), changed)) => {
                *changed = true;
                Ok(row.complete(completion.token, completion.performed.clone(), now))
            }
        });
        answers.collect()
    }

    /// What is to be written, in the order of tasks.
    pub(crate) fn changed(self, at: Timestamp) -> Result<Vec<(Task, BarrierRow)>, Error> {
        let changed = self
            .0
            .into_iter()
            .filter_map(|(task, (row, changed))| Some((task, row.ok().filter(|_| changed)?)));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_by(|a, b| a.0.cmp(&b.0));
        let write = |(task, row)| write_row(&task, &row, at).map(|row| (task, row));
        changed.into_iter().map(write).collect()
    }
}

pub(crate) fn gone(task: &Task) -> Error {
    let message = format!("the inbox has no row for step {} of run {}: it was pruned", task.step, task.run);
    Error::new(ErrorKind::NotFound, message)
}

pub(crate) fn read_row(task: &Task, format: i64, state: &str) -> Result<Row, Error> {
    let place = || format!("the row for step {} of run {} in table saga_inbox", task.step, task.run);
    if format > FORMAT {
        let message = format!(
            "{} is written in format {format}, this version reads up to {FORMAT}: use a newer version of saga-sql",
            place()
        );
        return Err(corrupt(message));
    }
    serde_json::from_str(state)
        .map_err(|error| corrupt(format!("{} cannot be read", place())).with_source(error))
}

pub(crate) fn write_row(task: &Task, row: &Row, at: Timestamp) -> Result<BarrierRow, Error> {
    let state = serde_json::to_string(row).map_err(|error| {
        let message = format!("the row for step {} of run {} cannot be written", task.step, task.run);
        Error::new(ErrorKind::Permanent, message).with_source(error)
    })?;
    let held_until = row.held_until().map(to_column);
    Ok(BarrierRow { format: FORMAT, state, held_until, at })
}
