//! CloudEvents on Kafka, in binary mode: attributes are headers that begin with `ce_`, the content type is a header of its own
//! (<https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md>).

use std::borrow::Cow;

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};
use saga_core::Message;
use saga_core::record::{MessageId, Payload, Topic};
use saga_core::wire::attributes::CONTENT_TYPE;

const ID: &str = "ce_id";
const ATTRIBUTE: &str = "ce_";
const PORT_ATTRIBUTE: &str = "ce-";
const WIRE_CONTENT_TYPE: &str = "content-type";
/// Headers of the adapter's own, which nobody else sees.
pub(crate) const ATTEMPT: &str = "saga-attempt";
pub(crate) const NOT_BEFORE: &str = "saga-not-before";
pub(crate) const DEAD_ATTEMPTS: &str = "saga-dead-attempts";
pub(crate) const DEAD_AT: &str = "saga-dead-at";
const OWN: [&str; 4] = [ATTEMPT, NOT_BEFORE, DEAD_ATTEMPTS, DEAD_AT];

/// A message's headers as they travel, with these of the adapter's own.
pub(crate) fn to_wire(message: &Message, own: &[(&str, &str)]) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(message.headers.iter().count() + 1 + own.len());
    headers = headers.insert(Header { key: ID, value: Some(message.id.as_str()) });
    for (name, value) in message.headers.iter() {
        headers = headers.insert(Header { key: &wire_name(name), value: Some(value) });
    }
    for (name, value) in own {
        headers = headers.insert(Header { key: name, value: Some(*value) });
    }
    headers
}

fn wire_name(name: &str) -> Cow<'_, str> {
    if name == CONTENT_TYPE {
        return WIRE_CONTENT_TYPE.into();
    }
    match name.strip_prefix(PORT_ATTRIBUTE) {
        Some(attribute) => format!("{ATTRIBUTE}{attribute}").into(),
        None => name.into(),
    }
}

fn port_name(name: &str) -> Cow<'_, str> {
    if name == WIRE_CONTENT_TYPE {
        return CONTENT_TYPE.into();
    }
    match name.strip_prefix(ATTRIBUTE) {
        Some(attribute) => format!("{PORT_ATTRIBUTE}{attribute}").into(),
        None => name.into(),
    }
}

/// A message as it arrived, with the adapter's own headers apart. One of somebody else's producer without an id is called after its place.
pub(crate) fn from_wire(topic: &Topic, arrived: &BorrowedMessage<'_>) -> (Message, Own) {
    let (mut id, mut own, mut pairs) = (None, Own::default(), Vec::new());
    let headers = arrived.headers();
    for header in headers.iter().flat_map(|headers| headers.iter()) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default());
        if header.key == ID {
            id = Some(value);
        } else if OWN.contains(&header.key) {
            own.put(header.key, &value);
        } else {
            pairs.push((port_name(header.key), value));
        }
    }
    let id = id.unwrap_or_else(|| place(arrived).into());
    let message = Message {
        topic: topic.clone(),
        id: MessageId::new(&*id),
        key: arrived.key().map(|key| (&*String::from_utf8_lossy(key)).into()),
        headers: pairs.iter().map(|(name, value)| (&**name, &**value)).collect(),
        payload: Payload::from(Bytes::copy_from_slice(arrived.payload().unwrap_or_default())),
    };
    (message, own)
}

fn place(arrived: &BorrowedMessage<'_>) -> String {
    format!("{}/{}/{}", arrived.topic(), arrived.partition(), arrived.offset())
}

/// What the adapter wrote beside a message.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) attempt: Option<u32>,
    pub(crate) not_before_ms: Option<u64>,
    pub(crate) dead_attempts: Option<u32>,
    pub(crate) dead_at_ms: Option<u64>,
}

impl Own {
    fn put(&mut self, name: &str, value: &str) {
        match name {
            ATTEMPT => self.attempt = value.parse().ok(),
            NOT_BEFORE => self.not_before_ms = value.parse().ok(),
            DEAD_ATTEMPTS => self.dead_attempts = value.parse().ok(),
            _ => self.dead_at_ms = value.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_spelled_the_bindings_way_and_back() {
        let message = Message::new(Topic::new("t").unwrap(), "x").with_id("1").with_headers([
            ("ce-type", "saga.command"),
            ("ce-datacontenttype", "application/json"),
            ("plain", "grüße\n"),
        ]);
        let headers = to_wire(&message, &[(ATTEMPT, "2")]);
        let names: Vec<_> = headers.iter().map(|header| header.key.to_owned()).collect();
        assert_eq!(names, ["ce_id", "ce_type", "content-type", "plain", "saga-attempt"]);
        for name in ["ce-type", "ce-datacontenttype", "plain"] {
            assert_eq!(port_name(&wire_name(name)), name);
        }
    }
}
