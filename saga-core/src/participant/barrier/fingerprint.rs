//! For the model check: what tells two states of a row apart, as far as what can still happen goes.
//!
//! How many tokens were given and how often something was tried is left out: only whether a claim still has the row, and whether anything was
//! tried at all, decide anything.

use std::hash::{Hash, Hasher};

use super::Row;
use crate::record::Timestamp;

impl Row {
    /// Hashes what matters of the row.
    #[doc(hidden)]
    pub fn hash_row(&self, now: Timestamp, hasher: &mut impl Hasher) {
        let ran = (self.executions.count > 0).then_some(self.executions.round);
        let holder = self.holder.map(|it| (it.undo, it.round, it.again, it.bound, it.until > now));
        let seal = self.seal.as_ref().map(|seal| (&seal.undoing, &seal.fence));
        (self.round, ran, self.attempted, holder, &self.verdict, seal, self.tainted, self.overlapped)
            .hash(hasher);
    }
}
