//! The tables, and how they come to be: each component (the log, the inbox, the outbox, the leases) has numbered steps, and the database keeps the number of the last.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use saga_core::{Error, ErrorKind};

/// A part of the schema that is brought up to date by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    /// As table `saga_schema` names it.
    pub(crate) name: &'static str,
    /// What brings version `n` to `n + 1`, from 0.
    pub(crate) steps: &'static [&'static str],
}

impl Component {
    /// The steps that a database at this version still needs.
    ///
    /// # Errors
    /// [`Permanent`](ErrorKind::Permanent) when it is newer than this version of the library.
    pub(crate) fn missing(&self, place: &str, version: i64) -> Result<&'static [&'static str], Error> {
        let known = self.steps.len();
        usize::try_from(version).ok().and_then(|version| self.steps.get(version..)).ok_or_else(|| {
            let message = format!(
                "the schema of the saga {} in {place} has version {version}, and this version of saga-sql knows up to {known}: \
                 use a newer version of saga-sql",
                self.name
            );
            Error::new(ErrorKind::Permanent, message)
        })
    }

    pub(crate) const fn latest(&self) -> i64 {
        self.steps.len() as i64
    }
}
