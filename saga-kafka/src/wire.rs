//! CloudEvents on Kafka, in binary mode: attributes are headers that begin with `ce_`, the content type is a header of its own
//! (<https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md>).

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use saga_core::Message;
use saga_core::record::{MessageId, Payload, Topic};
use saga_core::wire::attributes::CONTENT_TYPE;

const ID: &str = "ce_id";
const PORT_ID: &str = "ce-id";
const ATTRIBUTE: &str = "ce_";
const PORT_ATTRIBUTE: &str = "ce-";
const WIRE_CONTENT_TYPE: &str = "content-type";
/// Before the name of a header that would be taken for another, or cannot travel as it is: the name is then percent-encoded.
const ENCODED: &str = "saga-encoded-";
/// Kafka's client ends a name at a NUL.
const IN_NAME: &AsciiSet = &AsciiSet::EMPTY.add(0).add(b'%');
/// Before the names of the adapter's own.
const RESERVED: &str = "saga-";
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
    // The id has its place.
    for (name, value) in message.headers.iter().filter(|(name, _)| *name != PORT_ID) {
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
    let is_taken = name == WIRE_CONTENT_TYPE || name.starts_with(ATTRIBUTE) || name.starts_with(RESERVED);
    if is_taken || name.contains('\0') {
        return format!("{ENCODED}{}", utf8_percent_encode(name, IN_NAME)).into();
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
    if let Some(name) = name.strip_prefix(ENCODED) {
        return percent_decode_str(name).decode_utf8_lossy();
    }
    match name.strip_prefix(ATTRIBUTE) {
        Some(attribute) => format!("{PORT_ATTRIBUTE}{attribute}").into(),
        None => name.into(),
    }
}

/// A message as it arrived, with the adapter's own headers apart. One of somebody else's producer without an id is called after its place.
pub(crate) fn from_wire(topic: &Topic, arrived: &impl rdkafka::Message) -> (Message, Own) {
    let (mut id, mut own, mut pairs) = (None, Own::default(), Vec::new());
    let headers = arrived.headers();
    for header in headers.into_iter().flat_map(readable) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default());
        if OWN.contains(&header.key) {
            own.put(header.key, &value);
            continue;
        }
        match port_name(header.key) {
            name if name == PORT_ID => id = Some(value),
            name => pairs.push((name, value)),
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

/// The headers whose names are text. The client panics over one that is not, which anybody can send; the message is read all the same.
fn readable<H: Headers>(headers: &H) -> impl Iterator<Item = Header<'_, &[u8]>> {
    (0..headers.count()).filter_map(|at| {
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(at)));
        header.unwrap_or_else(|_| {
            tracing::warn!("a header whose name is no UTF-8 is left out");
            None
        })
    })
}

fn place(arrived: &impl rdkafka::Message) -> String {
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
        let taken = ["content-type", "ce_type", "saga-attempt", "saga-encoded-x", "a\0b%", "ce-\0"];
        for name in ["ce-type", "ce-datacontenttype", "plain"].into_iter().chain(taken) {
            assert_eq!(port_name(&wire_name(name)), name);
        }
        assert!(taken.iter().all(|name| wire_name(name).starts_with(ENCODED)), "{taken:?}");
    }

    #[test]
    fn an_id_among_the_headers_is_not_taken_for_the_messages_own() {
        let message = Message::new(Topic::new("t").unwrap(), "x").with_id("1").with_headers([("ce-id", "2")]);
        let headers = to_wire(&message, &[]);
        let ids: Vec<_> =
            headers.iter().filter(|header| header.key == ID).map(|header| header.value).collect();
        assert_eq!(ids, [Some(&b"1"[..])]);
    }

    /// Headers as the client hands them out, the second of which has a name that is no UTF-8.
    struct Odd;

    impl Headers for Odd {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, at: usize) -> Option<Header<'_, &[u8]>> {
            let key = std::str::from_utf8([&b"one"[..], b"\xff", b"three"][at]).unwrap();
            Some(Header { key, value: None })
        }
    }

    #[test]
    fn a_header_without_a_readable_name_hides_no_other() {
        let names: Vec<_> = readable(&Odd).map(|header| header.key.to_owned()).collect();
        assert_eq!(names, ["one", "three"]);
    }
}
