//! For the project's own fuzzing, and nobody else: it may change at any time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lapin::BasicProperties;
use saga_core::record::{MessageId, Topic};
use saga_core::{Error, Message};

use crate::registry::{self, Note};
use crate::wire;

/// The groups of each topic.
pub type Registry = BTreeMap<Topic, BTreeSet<String>>;

/// A message as it arrives with these properties.
pub fn arrive(topic: &Topic, properties: &BasicProperties, payload: Bytes) -> Message {
    wire::from_wire(topic, properties, payload).0
}

/// The properties with which a message is sent.
///
/// # Errors
/// [`Invalid`](saga_core::ErrorKind::Invalid) when the protocol cannot carry them.
pub fn send(message: &Message) -> Result<BasicProperties, Error> {
    wire::to_wire(message)
}

/// The properties of a copy, as for a retry.
pub fn copy(original: &BasicProperties, id: &MessageId) -> BasicProperties {
    wire::copy(original, id, &[(wire::ATTEMPT, "2")])
}

/// What the lines of the list of topics say.
pub fn followed(lines: &[Vec<u8>]) -> Registry {
    lines.iter().fold(Registry::new(), |mut registry, line| {
        registry::follow(&mut registry, line);
        registry
    })
}

/// The lines that say so.
pub fn noted(registry: &Registry) -> Vec<Vec<u8>> {
    let notes = registry.iter().flat_map(|(topic, groups)| {
        let groups = groups.iter().map(move |group| Note::Group(topic, group));
        std::iter::once(Note::Topic(topic, saga_core::ports::TopicKind::Events)).chain(groups)
    });
    notes.map(|note| note.line().into_bytes()).collect()
}
