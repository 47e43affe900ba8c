//! CloudEvents on NATS, in binary mode: attributes are headers that begin with `ce-`, their values percent-encoded
//! (<https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md>).

use std::borrow::Cow;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use saga_core::Message;
use saga_core::record::{MessageId, Payload, Topic};
use saga_core::wire::attributes;

const ID: &str = "ce-id";
const KEY: &str = "ce-partitionkey";
const ATTRIBUTE: &str = "ce-";
/// Before the name of a header that NATS could not carry as it is: name and value are then percent-encoded.
const ENCODED: &str = "saga-encoded-";
/// What the server and its clients add.
const SERVERS_OWN: &str = "Nats-";

/// What the binding says of values.
const IN_ATTRIBUTE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// What a header's name cannot have.
const IN_NAME: &AsciiSet = &CONTROLS.add(b' ').add(b':').add(b'%');

/// What nearly every message of ours has: names that are not copied for each.
static KNOWN: [HeaderName; 15] = [
    HeaderName::from_static(ID),
    HeaderName::from_static(KEY),
    HeaderName::from_static(attributes::SPECVERSION),
    HeaderName::from_static(attributes::TYPE),
    HeaderName::from_static(attributes::SOURCE),
    HeaderName::from_static(attributes::SUBJECT),
    HeaderName::from_static(attributes::CONTENT_TYPE),
    HeaderName::from_static(attributes::TIME),
    HeaderName::from_static(attributes::SAGA),
    HeaderName::from_static(attributes::RUN),
    HeaderName::from_static(attributes::STEP),
    HeaderName::from_static(attributes::ACTION),
    HeaderName::from_static(attributes::ROUND),
    HeaderName::from_static(attributes::REPLY_TO),
    HeaderName::from_static(attributes::VERDICT),
];

/// A message's headers as they travel.
pub(crate) fn to_wire(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put_attribute(&mut headers, ID, message.id.as_str());
    if let Some(key) = &message.key {
        put_attribute(&mut headers, KEY, key);
    }
    // Id and key have their places.
    let has_key = message.key.is_some();
    for (name, value) in message.headers.iter().filter(|(name, _)| *name != ID && !(has_key && *name == KEY))
    {
        // Values of one name keep their order under one name only: if one of them must be encoded, all are.
        let mut others = message.headers.iter().filter(|(other, _)| *other == name);
        put_as(&mut headers, name, value, || others.all(|(_, other)| is_plain(name, other)));
    }
    headers
}

/// Adds one more header, an attribute or other.
pub(crate) fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    put_as(headers, name, value, || is_plain(name, value));
}

fn put_as(headers: &mut HeaderMap, name: &str, value: &str, is_plain: impl FnOnce() -> bool) {
    // Whoever reads them does so in any case.
    let is_lowercase = !name.bytes().any(|b| b.is_ascii_uppercase());
    if name.starts_with(ATTRIBUTE) && is_name(name) && is_lowercase {
        return put_attribute(headers, name, value);
    }
    if is_plain() {
        append(headers, name, value);
    } else {
        let name = format!("{ENCODED}{}", utf8_percent_encode(name, IN_NAME));
        append(headers, &name, &encoded(value));
    }
}

/// Whether it can travel as it is, and is read as what it is.
fn is_plain(name: &str, value: &str) -> bool {
    is_name(name)
        && !is_attribute(name)
        && !name.starts_with(SERVERS_OWN)
        && !name.starts_with(ENCODED)
        && value.trim() == value
        && !value.contains(char::is_control)
}

fn put_attribute(headers: &mut HeaderMap, name: &str, value: &str) {
    append(headers, name, &encoded(value));
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    let known = KNOWN.iter().find(|known| AsRef::<str>::as_ref(*known) == name).cloned();
    let name = known.unwrap_or_else(|| name.parse().expect("names are checked or encoded"));
    let value: HeaderValue = value.parse().expect("line ends are encoded");
    headers.append(name, value);
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

/// Whether it would be read as one.
fn is_attribute(name: &str) -> bool {
    name.get(..ATTRIBUTE.len()).is_some_and(|start| start.eq_ignore_ascii_case(ATTRIBUTE))
}

fn encoded(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, IN_ATTRIBUTE).into()
}

/// A message as it arrived. One of somebody else's producer without an id is called after its place.
pub(crate) fn from_wire(
    topic: &Topic,
    headers: Option<&HeaderMap>,
    payload: Bytes,
    place: impl FnOnce() -> String,
) -> Message {
    let (mut id, mut key, mut pairs) = (None, None, Vec::new());
    let values = headers.into_iter().flat_map(HeaderMap::iter);
    for (name, value) in values
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref() as &str, value.as_str())))
    {
        let (name, value) = match name.strip_prefix(ENCODED) {
            Some(name) => (decoded(name), decoded(value)),
            None if is_attribute(name) => (name.to_ascii_lowercase().into(), decoded(value)),
            None if name.starts_with(SERVERS_OWN) => continue,
            None => (Cow::from(name), Cow::from(value)),
        };
        match &*name {
            ID => id = Some(value),
            KEY => key = Some(value),
            _ => pairs.push((name, value)),
        }
    }
    Message {
        topic: topic.clone(),
        id: id.as_deref().map_or_else(|| MessageId::new(place()), MessageId::new),
        key: key.map(|key| (&*key).into()),
        headers: pairs.iter().map(|(name, value)| (&**name, &**value)).collect(),
        payload: Payload::from(payload),
    }
}

fn decoded(value: &str) -> Cow<'_, str> {
    percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic::new("t").unwrap()
    }

    #[test]
    fn what_is_sent_arrives() {
        let message = Message::new(topic(), "{}")
            .with_id("run/step/execute/1 ü%")
            .keyed("a key.*>\" ü")
            .with_headers([
                ("ce-output", "{\"a\":\"1\r\n\"}"),
                ("ce-step", "pay"),
                ("plain", "grüße"),
                ("plain", "line\nend "),
                ("plain", "again"),
                ("odd name:ü", "line\nend "),
                ("Nats-Msg-Id", "not for the server"),
                ("CE-Type", "no attribute"),
                ("ce-Odd", "nor this"),
                ("saga-encoded-x", "%41"),
                ("empty", ""),
            ]);
        let arrived = from_wire(&topic(), Some(&to_wire(&message)), message.payload.bytes().clone(), || {
            "s/1".to_owned()
        });
        assert_eq!(
            (&arrived.id, &arrived.key, &arrived.payload),
            (&message.id, &message.key, &message.payload)
        );
        let sorted = |message: &Message| {
            let mut pairs: Vec<_> =
                message.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs
        };
        assert_eq!(sorted(&arrived), sorted(&message));
        assert!(to_wire(&message).get("Nats-Msg-Id").is_none(), "the server would deduplicate by it");
    }

    #[test]
    fn id_and_key_among_the_headers_are_not_taken_for_the_messages_own() {
        let headers = [("ce-id", "2"), ("ce-partitionkey", "b")];
        let message = Message::new(topic(), "").with_id("1").keyed("a").with_headers(headers);
        let arrived = from_wire(&topic(), Some(&to_wire(&message)), Bytes::new(), || "s/1".to_owned());
        assert_eq!((arrived.id.as_str(), arrived.key.as_deref()), ("1", Some("a")));
        assert_eq!(arrived.headers.iter().count(), 0);
    }

    #[test]
    fn a_bare_message_is_called_after_its_place() {
        let arrived = from_wire(&topic(), None, Bytes::from_static(b"x"), || "stream/7".to_owned());
        assert_eq!((arrived.id.as_str(), arrived.key, arrived.headers.iter().count()), ("stream/7", None, 0));
    }

    #[test]
    fn attributes_are_known_in_any_case() {
        let mut headers = HeaderMap::new();
        headers.insert("CE-Id", "7");
        headers.insert("Ce-Type", "saga.reply");
        let arrived = from_wire(&topic(), Some(&headers), Bytes::new(), || "s/1".to_owned());
        assert_eq!((arrived.id.as_str(), arrived.headers.get("ce-type")), ("7", Some("saga.reply")));
    }
}
