use thiserror::Error;

/// A message that should be a command or a reply and cannot be read as one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("message {id} on {topic}: {problem}")]
pub struct Malformed {
    /// The message's id.
    pub(crate) id: String,
    /// Where it was read.
    pub(crate) topic: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl Malformed {
    pub(super) fn new(message: &super::Message, problem: impl Into<String>) -> Self {
        Self {
            id: message.id.as_str().chars().take(200).collect(),
            topic: message.topic.to_string(),
            problem: problem.into(),
        }
    }
}
