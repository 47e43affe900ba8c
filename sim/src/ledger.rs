//! The outside world: what effects there are, whatever anybody says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use saga_core::record::{RunId, SagaKey};

use crate::laws::{Broken, Law};

/// The effects of all steps of all sagas.
#[derive(Default)]
pub(crate) struct Ledger {
    books: BTreeMap<(RunId, Arc<str>), Book>,
}

/// What happened to one step's effect.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) key: SagaKey,
    pub(crate) is_there: bool,
    /// It was undone, or could have been: from then on its key is refused.
    pub(crate) is_undone: bool,
    pub(crate) executions: u32,
    pub(crate) undos: u32,
}

/// What the outside system says to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// Its undo was here before.
    Refused,
}

impl Ledger {
    fn book(&mut self, run: RunId, step: &Arc<str>, key: &SagaKey) -> &mut Book {
        self.books.entry((run, Arc::clone(step))).or_insert_with(|| Book {
            key: key.clone(),
            is_there: false,
            is_undone: false,
            executions: 0,
            undos: 0,
        })
    }

    /// In a system that tells repeats by their key; a strict one also refuses it after that of the undo.
    pub(crate) fn execute_keyed(
        &mut self,
        run: RunId,
        step: &Arc<str>,
        key: &SagaKey,
        is_strict: bool,
    ) -> Answer {
        let book = self.book(run, step, key);
        if book.is_undone && is_strict {
            return Answer::Refused;
        }
        book.executions = 1;
        book.is_there = true;
        Answer::Done
    }

    /// In a system that does what it is told, in one transaction with the barrier's row.
    pub(crate) fn execute_bound(&mut self, run: RunId, step: &Arc<str>, key: &SagaKey) -> Result<(), Broken> {
        let book = self.book(run, step, key);
        book.executions += 1;
        book.is_there = true;
        if book.executions > 1 {
            return Err(Law::Once.broken(format!("{key} {step}: executed {} times", book.executions)));
        }
        if book.is_undone {
            return Err(Law::NothingLeft.broken(format!("{key} {step}: executed after it was undone")));
        }
        Ok(())
    }

    pub(crate) fn undo(&mut self, run: RunId, step: &Arc<str>, key: &SagaKey) {
        let book = self.book(run, step, key);
        book.is_there = false;
        book.is_undone = true;
        book.undos += 1;
    }

    pub(crate) fn of(&self, run: RunId, step: &Arc<str>) -> Option<&Book> {
        self.books.get(&(run, Arc::clone(step)))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&(RunId, Arc<str>), &Book)> {
        self.books.iter()
    }

    /// Whether a step of this run was ever executed.
    pub(crate) fn was_executed(&self, run: RunId, is_step: impl Fn(&str) -> bool) -> bool {
        let of_run = self.books.iter().filter(|((of, _), _)| *of == run);
        of_run.into_iter().any(|((_, step), book)| is_step(step) && book.executions > 0)
    }
}
