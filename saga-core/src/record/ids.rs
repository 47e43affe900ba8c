use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The longest saga id, in bytes.
pub(crate) const SAGA_ID_BYTES_MAX: usize = 255;
/// The longest topic, saga or step name, in bytes: what every broker takes with room for a prefix and a suffix.
pub(crate) const NAME_BYTES_MAX: usize = 200;

/// A name or id that no broker or log could carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} {name:?} {problem}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    problem: &'static str,
}

/// Checks a saga, step or topic name: 1 to 200 bytes of `A-Z a-z 0-9 . _ -`, which every broker takes.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 200 bytes"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        "has a character other than A-Z a-z 0-9 . _ -"
    } else {
        return Ok(());
    };
    Err(InvalidName { what, name: name.chars().take(80).collect(), problem })
}

/// The name of a topic: what Kafka calls a topic, RabbitMQ a queue or exchange, NATS a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks the name: 1 to 200 bytes of `A-Z a-z 0-9 . _ -`, which every broker takes.
    ///
    /// # Errors
    /// [`InvalidName`] says what is wrong with it.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, InvalidName> {
        let name = name.into();
        check_name("topic", &name)?;
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Topic {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(name).map_err(serde::de::Error::custom)
    }
}

/// The user's own name for one business action, for example an order id. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SagaId(Arc<str>);

impl SagaId {
    /// Checks the id: 1 to 255 bytes of UTF-8 without control characters.
    ///
    /// # Errors
    /// [`InvalidName`] says what is wrong with it.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, InvalidName> {
        let id = id.into();
        let problem = if id.is_empty() {
            "is empty"
        } else if id.len() > SAGA_ID_BYTES_MAX {
            "is longer than 255 bytes"
        } else if id.chars().any(char::is_control) {
            "has a control character"
        } else {
            return Ok(Self(id));
        };
        Err(InvalidName { what: "saga id", name: id.chars().take(80).collect(), problem })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as shared text, which is also the key of every message of the saga.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SagaId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl TryFrom<&str> for SagaId {
    type Error = InvalidName;

    fn try_from(id: &str) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl TryFrom<String> for SagaId {
    type Error = InvalidName;

    fn try_from(id: String) -> Result<Self, InvalidName> {
        Self::new(id)
    }
}

impl<'de> Deserialize<'de> for SagaId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::new(id).map_err(serde::de::Error::custom)
    }
}

/// What the saga log files a saga under: its definition's name and the user's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SagaKey {
    /// The name of the definition.
    pub saga: Arc<str>,
    /// The user's id.
    pub id: SagaId,
}

impl fmt::Display for SagaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.saga, self.id)
    }
}

/// One start of a saga. It is part of every message id and barrier key, so that an id used again after its first saga
/// was pruned never meets what that one left behind. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(#[serde(with = "uuid::serde::simple")] Uuid);

impl RunId {
    /// A new id from the operating system's random numbers.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// An id made from a number, for tests and simulations that must repeat.
    pub const fn from_u128(n: u128) -> Self {
        Self(Uuid::from_u128(n))
    }

    /// The id as it is shown, written into `buffer`.
    pub(crate) fn text(self, buffer: &mut [u8; 32]) -> &str {
        self.0.as_simple().encode_lower(buffer)
    }

    /// The id as a number.
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidName {
            what: "run id",
            name: text.chars().take(80).collect(),
            problem: "is not 32 hexadecimal digits",
        })
    }
}

/// The id of a message. Every copy of one message has the same id; the library's own are `run/step/action/round`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// Takes the text as it is.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// A new id from the operating system's random numbers, for a message that has no natural one.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Topic::new("checkout.replies").is_ok());
        for bad in ["", "a b", "a/b", "grün", &"x".repeat(201)] {
            assert!(Topic::new(bad).is_err(), "{bad:?}");
        }
        assert!(SagaId::new("order 12345 / grün").is_ok());
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(SagaId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_run_id_reads_back() {
        let run = RunId::random();
        assert_eq!(run.to_string().parse(), Ok(run));
        assert!("nonsense".parse::<RunId>().is_err());
    }
}
