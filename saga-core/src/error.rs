use std::error::Error as StdError;
use std::fmt;

/// What may be done about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The same call may succeed later: the other side is away, busy or slow.
    Retry,
    /// The call may or may not have taken effect. Repeating it with the same ids is safe.
    Unknown,
    /// Someone else was first: read again and decide again.
    Conflict,
    /// There is no such saga, step, topic or group.
    NotFound,
    /// The caller's input is wrong; the same call will never succeed.
    Invalid,
    /// The other side refuses for good: a permission, a size, an incompatible topic.
    Permanent,
    /// What was asked is not possible in the state things are in.
    NotAllowed,
    /// This process is shutting down.
    Stopped,
    /// Stored data cannot be read.
    Corrupt,
}

/// An error of a port or of the library: what happened, to what, and what may be done about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that says what happened and to what; `message` names the saga, step or topic.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What may be done about it.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, with the same ids.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Retry | ErrorKind::Unknown | ErrorKind::Conflict)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The error and its causes on one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
