use std::sync::Arc;

use super::Headers;
use super::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use crate::record::{MessageId, Payload, Topic};

/// A message on the bus. Cloning shares its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes, or came from.
    pub topic: Topic,
    /// The same for every copy of it; CloudEvents `id`.
    pub id: MessageId,
    /// Messages of one key keep their order where a subscription asks for it. A saga's messages have its id as the key.
    pub key: Option<Arc<str>>,
    /// CloudEvents attributes and other headers.
    pub headers: Headers,
    /// The user's bytes.
    pub payload: Payload,
}

impl Message {
    /// A message with a random id, no key and no headers.
    pub fn new(topic: Topic, payload: impl Into<Payload>) -> Self {
        Self {
            topic,
            id: MessageId::random(),
            key: None,
            headers: Headers::default(),
            payload: payload.into(),
        }
    }

    /// With this key.
    #[must_use]
    pub fn keyed(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = MessageId::new(id);
        self
    }

    /// With these headers appended.
    #[must_use]
    pub fn with_headers<'a>(mut self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.headers = self.headers.with(more);
        self
    }

    /// Without what a stay among the dead letters added: the attributes of why, from where and by whom it was given up.
    #[must_use]
    pub fn without_dead_attributes(mut self) -> Self {
        self.headers = self.headers.without(&[DEAD_REASON, DEAD_TOPIC, DEAD_GROUP]);
        self
    }

    /// Key, id, headers and payload together, in bytes: what a size limit is held against.
    pub fn size_bytes(&self) -> usize {
        self.payload.len()
            + self.headers.size_bytes()
            + self.id.as_str().len()
            + self.key.as_ref().map_or(0, |key| key.len())
    }
}
