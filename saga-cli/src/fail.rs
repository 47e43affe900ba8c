//! Why a command failed, as an exit code. They are documented in `saga --help`.

use saga::{Error, ErrorKind};

pub(crate) const FAILED: u8 = 1;
pub(crate) const WRONG: u8 = 2;
pub(crate) const NOT_FOUND: u8 = 3;
pub(crate) const NOT_ALLOWED: u8 = 4;
pub(crate) const NOT_TAKEN: u8 = 5;
pub(crate) const AWAY: u8 = 6;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::NotAllowed => NOT_ALLOWED,
            ErrorKind::Retry | ErrorKind::Unknown | ErrorKind::Conflict => AWAY,
            _ => FAILED,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_may_be_done() {
        for (kind, code) in [
            (ErrorKind::NotFound, NOT_FOUND),
            (ErrorKind::NotAllowed, NOT_ALLOWED),
            (ErrorKind::Retry, AWAY),
            (ErrorKind::Permanent, FAILED),
            (ErrorKind::Corrupt, FAILED),
        ] {
            let failure = Failure::from(Error::new(kind, "what happened"));
            assert_eq!((failure.code, &*failure.message), (code, "what happened"));
        }
    }
}
