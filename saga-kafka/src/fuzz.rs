//! For the project's own fuzzing, and nobody else: it may change at any time.

use rdkafka::message::{Header, OwnedHeaders, OwnedMessage, Timestamp};
use saga_core::Message;
use saga_core::record::Topic;

use crate::wire;

/// A header's name and value.
pub type Pair = (String, Option<Vec<u8>>);

/// A message as it arrives with these headers. Their names must not have a NUL.
pub fn arrive(topic: &Topic, key: Option<Vec<u8>>, headers: &[Pair], payload: Vec<u8>) -> Message {
    let insert = |all: OwnedHeaders, (key, value): &Pair| all.insert(Header { key, value: value.as_ref() });
    let headers = headers.iter().fold(OwnedHeaders::new(), insert);
    let name = topic.as_str().to_owned();
    let arrived = OwnedMessage::new(Some(payload), key, name, Timestamp::NotAvailable, 0, 0, Some(headers));
    wire::from_wire(topic, &arrived).0
}

/// The headers with which a message is sent.
pub fn send(message: &Message) -> Vec<Pair> {
    use rdkafka::message::Headers as _;

    let headers = wire::to_wire(message, &[]);
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}
