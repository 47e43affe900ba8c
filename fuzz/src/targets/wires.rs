//! A message as it arrives, whoever has sent it, must be the same once it is sent on; and one of ours must arrive as it was sent.

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use saga::ErrorKind;
use saga::wire::Message;
use saga_kafka::fuzz as kafka;
use saga_nats::fuzz as nats;
use saga_rabbit::fuzz as rabbit;

use crate::written::Written;

pub(super) fn kafka(bytes: &[u8]) {
    let again = |message: &Message| {
        let key = message.key.as_ref().map(|key| key.as_bytes().to_vec());
        kafka::arrive(&message.topic, key, &kafka::send(message), message.payload.to_vec())
    };
    let ours = Written::read(bytes).into_message();
    is_same(&again(&ours), &plain(ours, &[]));
    let mut foreign = Written::read(bytes);
    let (topic, key) = (foreign.take_topic(), foreign.take("key"));
    let headers: Vec<_> = foreign
        .headers
        .into_iter()
        .map(|(name, value)| (String::from_utf8_lossy(&name).replace('\0', ""), value))
        .collect();
    let arrived = kafka::arrive(&topic, key, &headers, foreign.payload);
    is_same(&again(&arrived), &arrived);
}

pub(super) fn nats(bytes: &[u8]) {
    let again = |message: &Message| {
        let headers = nats::send(message);
        nats::arrive(&message.topic, Some(&headers), message.payload.bytes().clone())
    };
    let ours = Written::read(bytes).into_message();
    is_same(&again(&ours), &plain(ours, &["ce-partitionkey"]));
    let mut foreign = Written::read(bytes);
    let topic = foreign.take_topic();
    let mut headers = HeaderMap::new();
    for (name, value) in &foreign.headers {
        // The client lets nothing else through.
        let name = String::from_utf8_lossy(name).parse::<HeaderName>();
        let value =
            String::from_utf8_lossy(value.as_deref().unwrap_or_default()).trim().parse::<HeaderValue>();
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let arrived = nats::arrive(&topic, Some(&headers), Bytes::from(foreign.payload));
    is_same(&again(&arrived), &arrived);
}

pub(super) fn rabbit(bytes: &[u8]) {
    let again = |message: &Message| match rabbit::send(message) {
        Ok(properties) => Some(rabbit::arrive(&message.topic, &properties, message.payload.bytes().clone())),
        Err(error) => {
            // The protocol has no room for long names.
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            None
        }
    };
    let ours = Written::read(bytes).into_message();
    if let Some(arrived) = again(&ours) {
        is_same(&arrived, &plain(ours, &["ce-partitionkey"]));
    }
    let mut foreign = Written::read(bytes);
    let topic = foreign.take_topic();
    let properties = properties(&foreign);
    let payload = Bytes::from(foreign.payload);
    let mut arrived = rabbit::arrive(&topic, &properties, payload.clone());
    // The property by which it is called is not among its headers, so that it is called after nothing if it has none.
    let copied = rabbit::arrive(&topic, &rabbit::copy(&properties, &arrived.id), payload);
    arrived.headers = arrived.headers.without(&["ce-deadreason", "ce-deadtopic", "ce-deadgroup"]);
    is_same(&copied, &arrived);
    if let Some(again) = again(&arrived) {
        is_same(&again, &arrived);
    }
}

/// Properties as another producer may have made them: `(int)`, `(long)`, `(bool)`, `(bytes)`, `(table)` and so on before a value say of which
/// type it is; what begins with a colon is a property; what stands there twice is an array.
fn properties(written: &Written) -> BasicProperties {
    let mut properties = BasicProperties::default();
    let mut table = FieldTable::default();
    for (name, value) in &written.headers {
        let Ok(name) = ShortString::try_new(String::from_utf8_lossy(name)) else { continue };
        let value = value.as_deref().unwrap_or_default();
        let short = || ShortString::try_new(String::from_utf8_lossy(value)).unwrap_or_default();
        match name.as_str() {
            ":content-type" => properties = properties.with_content_type(short()),
            ":message-id" => properties = properties.with_message_id(short()),
            ":correlation-id" => properties = properties.with_correlation_id(short()),
            ":user-id" => properties = properties.with_user_id(short()),
            _ => {
                let value = match table.inner().get(&name) {
                    None => typed(value),
                    Some(first) => AMQPValue::FieldArray(FieldArray::from(vec![first.clone(), typed(value)])),
                };
                table.insert(name, value);
            }
        }
    }
    properties.with_headers(table)
}

fn typed(value: &[u8]) -> AMQPValue {
    let text = String::from_utf8_lossy(value);
    let (kind, rest) = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).unwrap_or(("", &text));
    match kind {
        "bool" => AMQPValue::Boolean(!rest.is_empty()),
        "byte" => AMQPValue::ShortShortInt(rest.parse().unwrap_or_default()),
        "int" => AMQPValue::LongInt(rest.parse().unwrap_or_default()),
        "long" => AMQPValue::LongLongInt(rest.parse().unwrap_or_default()),
        "double" => AMQPValue::Double(rest.parse().unwrap_or_default()),
        "time" => AMQPValue::Timestamp(rest.parse().unwrap_or_default()),
        "short" => AMQPValue::ShortString(ShortString::try_new(rest).unwrap_or_default()),
        "bytes" => AMQPValue::ByteArray(value.to_vec().into()),
        "table" => AMQPValue::FieldTable(FieldTable::default()),
        "void" => AMQPValue::Void,
        _ => AMQPValue::LongString(value.to_vec().into()),
    }
}

/// A message as it must arrive: its id and key have their places, and do not stand among the headers.
fn plain(mut message: Message, keys: &[&str]) -> Message {
    if message.key.is_none() {
        message.key = keys.iter().find_map(|name| message.headers.get(name)).map(Into::into);
    }
    message.headers = message.headers.without(&[&["ce-id"], keys].concat());
    message
}

/// The order of headers is of no meaning, except among those of one name.
fn is_same(one: &Message, other: &Message) {
    let sorted = |message: &Message| {
        let mut pairs: Vec<_> = message.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        (message.topic.clone(), message.id.clone(), message.key.clone(), message.payload.clone(), pairs)
    };
    assert_eq!(sorted(one), sorted(other));
}
