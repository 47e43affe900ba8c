//! For the project's own fuzzing, and nobody else: it may change at any time.

use async_nats::HeaderMap;
use bytes::Bytes;
use saga_core::Message;
use saga_core::record::Topic;

use crate::wire;

/// A message as it arrives with these headers.
pub fn arrive(topic: &Topic, headers: Option<&HeaderMap>, payload: Bytes) -> Message {
    wire::from_wire(topic, headers, payload, || "stream/1".to_owned())
}

/// The headers with which a message is sent.
pub fn send(message: &Message) -> HeaderMap {
    wire::to_wire(message)
}
