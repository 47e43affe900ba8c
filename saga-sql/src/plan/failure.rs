use saga_core::Error;
use saga_core::ports::{AppendError, Version};

use crate::error::copy;

/// Why a whole batch of appends was not answered one by one.
pub(crate) enum Failure {
    /// Nothing has taken effect.
    Before(Error),
    /// Everything or nothing has.
    Committing(Error),
}

impl Failure {
    /// The answer to each of so many appends.
    pub(crate) fn answers(&self, count: usize) -> Vec<Result<Version, AppendError>> {
        let answer = || match self {
            Self::Before(error) => AppendError::Failed(copy(error)),
            Self::Committing(error) => AppendError::Unknown(copy(error)),
        };
        (0..count).map(|_| Err(answer())).collect()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Before(error)
    }
}
