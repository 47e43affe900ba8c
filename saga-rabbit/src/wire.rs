//! CloudEvents on AMQP, in binary mode: attributes are headers that begin with `cloudEvents:`, the content type is a property
//! (<https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/amqp-protocol-binding.md>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use saga_core::record::{MessageId, Payload, Topic};
use saga_core::wire::attributes::{CONTENT_TYPE, DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use saga_core::{Error, ErrorKind, Message};

const ID: &str = "cloudEvents:id";
const KEY: &str = "cloudEvents:partitionkey";
/// As it is written, and as others may write it, where a colon is no part of a name.
const ATTRIBUTES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];
const PORT_ATTRIBUTE: &str = "ce-";
const PORT_ID: &str = "ce-id";
const PORT_KEY: &str = "ce-partitionkey";
/// Before the name of a header that the server or this adapter would take for its own.
const ENCODED: &str = "saga-encoded-";
/// Before the names of the adapter's own.
const OWN: &str = "saga-";
pub(crate) const ATTEMPT: &str = "saga-attempt";
pub(crate) const NOT_BEFORE: &str = "saga-not-before";
pub(crate) const DEAD_ATTEMPTS: &str = "saga-dead-attempts";
pub(crate) const DEAD_AT: &str = "saga-dead-at";
/// What the server adds.
const DELIVERY_COUNT: &str = "x-delivery-count";
const FIRST_DEATH: &str = "x-first-death-reason";
const SERVERS_OWN: [&str; 6] =
    ["x-death", "x-first-death-", "x-last-death-", DELIVERY_COUNT, "x-acquired-count", "x-stream-offset"];
/// By these it would route to further queues.
const ROUTING: [&str; 2] = ["CC", "BCC"];
const PERSISTENT: u8 = 2;
const SHORT_BYTES_MAX: usize = u8::MAX as usize;

/// A message's properties as they travel.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) when the name of a header is too long for the protocol.
pub(crate) fn to_wire(message: &Message) -> Result<BasicProperties, Error> {
    let mut table = BTreeMap::new();
    put(&mut table, ID, message.id.as_str())?;
    if let Some(key) = &message.key {
        put(&mut table, KEY, key)?;
    }
    let mut properties =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_timestamp(now_ms() / 1_000);
    if let Ok(id) = ShortString::try_new(message.id.as_str()) {
        properties = properties.with_message_id(id);
    }
    let mut has_type = false;
    for (name, value) in message.headers.iter() {
        // Id and key have their places; there is room for one content type, and it is read first.
        match ShortString::try_new(value) {
            _ if name == PORT_ID || (name == PORT_KEY && message.key.is_some()) => {}
            Ok(value) if name == CONTENT_TYPE && !has_type => {
                properties = properties.with_content_type(value)
            }
            Ok(_) | Err(_) => put(&mut table, &wire_name(name), value)?,
        }
        has_type |= name == CONTENT_TYPE;
    }
    Ok(properties.with_headers(table.into()))
}

/// Names come twice as an array under one name: a table has each name once.
fn put(table: &mut BTreeMap<ShortString, AMQPValue>, name: &str, value: &str) -> Result<(), Error> {
    let name = ShortString::try_new(name).map_err(|error| {
        let start: String = name.chars().take(40).collect();
        let message = format!(
            "the header {start}… cannot travel on RabbitMQ: its name is longer than {SHORT_BYTES_MAX} bytes"
        );
        Error::new(ErrorKind::Invalid, message).with_source(error)
    })?;
    let value = AMQPValue::LongString(value.into());
    let together = match table.remove(&name) {
        None => value,
        Some(AMQPValue::FieldArray(mut values)) => {
            values.push(value);
            AMQPValue::FieldArray(values)
        }
        Some(first) => AMQPValue::FieldArray(FieldArray::from(vec![first, value])),
    };
    table.insert(name, together);
    Ok(())
}

fn wire_name(name: &str) -> Cow<'_, str> {
    if let Some(attribute) = name.strip_prefix(PORT_ATTRIBUTE) {
        return format!("{}{attribute}", ATTRIBUTES[0]).into();
    }
    let is_taken = name.starts_with(OWN)
        || is_servers_own(name)
        || ROUTING.contains(&name)
        || ATTRIBUTES.iter().any(|prefix| name.starts_with(prefix));
    if is_taken { format!("{ENCODED}{name}").into() } else { name.into() }
}

fn port_name(name: &str) -> Cow<'_, str> {
    if let Some(name) = name.strip_prefix(ENCODED) {
        return name.into();
    }
    match ATTRIBUTES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        Some(attribute) => format!("{PORT_ATTRIBUTE}{attribute}").into(),
        None => name.into(),
    }
}

fn is_servers_own(name: &str) -> bool {
    SERVERS_OWN.iter().any(|own| name == *own || (own.ends_with('-') && name.starts_with(own)))
}

/// A message as it arrived, with what the adapter and the server wrote beside it. One of somebody else's producer without an id is called by
/// its property `message-id`, or gets an id of its own, which its retries keep.
pub(crate) fn from_wire(topic: &Topic, properties: &BasicProperties, payload: Bytes) -> (Message, Own) {
    let (mut id, mut key, mut own, mut pairs) = (None, None, Own::default(), Vec::new());
    if let Some(content_type) = properties.content_type() {
        pairs.push((Cow::Borrowed(CONTENT_TYPE), Cow::Borrowed(content_type.as_str())));
    }
    for (name, value) in properties.headers().iter().flatten() {
        let port = port_name(name.as_str());
        for value in texts(value) {
            match &*port {
                PORT_ID => id = Some(value),
                PORT_KEY => key = Some(value),
                _ if is_servers_own(name.as_str()) || is_own(name.as_str()) => own.put(name.as_str(), &value),
                _ => pairs.push((port.clone(), value)),
            }
        }
    }
    let named = || properties.message_id().as_ref().map(|id| MessageId::new(id.as_str()));
    let message = Message {
        topic: topic.clone(),
        id: id.map(|id| MessageId::new(&*id)).or_else(named).unwrap_or_else(MessageId::random),
        key: key.map(|key| (&*key).into()),
        headers: pairs.iter().map(|(name, value)| (&**name, &**value)).collect(),
        payload: Payload::from(payload),
    };
    (message, own)
}

fn is_own(name: &str) -> bool {
    name.starts_with(OWN) && !name.starts_with(ENCODED)
}

/// A value as text; an array is several. What has no text, as a table, is nothing.
fn texts(value: &AMQPValue) -> Vec<Cow<'_, str>> {
    match value {
        AMQPValue::FieldArray(values) => values.as_slice().iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

fn text(value: &AMQPValue) -> Option<Cow<'_, str>> {
    let number = match value {
        AMQPValue::LongString(text) => return Some(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ShortString(text) => return Some(text.as_str().into()),
        AMQPValue::ByteArray(bytes) => return Some(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => {
            return None;
        }
    };
    Some(number.into())
}

/// What the adapter and the server wrote beside a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) attempt: Option<u32>,
    pub(crate) not_before_ms: Option<u64>,
    pub(crate) dead_attempts: Option<u32>,
    pub(crate) dead_at_ms: Option<u64>,
    /// How often the queue has delivered it in vain.
    pub(crate) delivery_count: u32,
    /// Why the server itself gave it up.
    pub(crate) died: Option<String>,
}

impl Own {
    fn put(&mut self, name: &str, value: &str) {
        match name {
            ATTEMPT => self.attempt = value.parse().ok(),
            NOT_BEFORE => self.not_before_ms = value.parse().ok(),
            DEAD_ATTEMPTS => self.dead_attempts = value.parse().ok(),
            DEAD_AT => self.dead_at_ms = value.parse().ok(),
            DELIVERY_COUNT => self.delivery_count = value.parse().unwrap_or_default(),
            FIRST_DEATH => self.died = Some(value.to_owned()),
            _ => {}
        }
    }

    /// Which delivery it is.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.unwrap_or(1).saturating_add(self.delivery_count)
    }
}

/// The properties of a copy: as they arrived, without what the adapter and the server had added, and with these attributes and headers
/// added.
pub(crate) fn copy(original: &BasicProperties, id: &MessageId, added: &[(&str, &str)]) -> BasicProperties {
    let dead = [DEAD_REASON, DEAD_TOPIC, DEAD_GROUP];
    let mut table: BTreeMap<ShortString, AMQPValue> = original
        .headers()
        .iter()
        .flatten()
        .filter(|(name, _)| {
            let name = name.as_str();
            let port = port_name(name);
            !is_own(name) && !is_servers_own(name) && !dead.contains(&&*port) && port != PORT_ID
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    table.insert(ID.into(), AMQPValue::LongString(id.as_str().into()));
    for (name, value) in added {
        let name = match name.strip_prefix(PORT_ATTRIBUTE) {
            Some(attribute) => format!("{}{attribute}", ATTRIBUTES[0]).into(),
            None => ShortString::from(*name),
        };
        table.insert(name, AMQPValue::LongString((*value).into()));
    }
    let copy =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(FieldTable::from(table));
    others(copy, original)
}

/// Keeps what else a foreign producer may have said, but its user, which the server would hold against ours, and its time to live.
fn others(mut copy: BasicProperties, original: &BasicProperties) -> BasicProperties {
    macro_rules! keep {
        ($($property:ident by $with:ident),*) => {
            $(if let Some(value) = original.$property() {
                copy = copy.$with(value.clone());
            })*
        };
    }
    keep!(
        content_type by with_content_type,
        content_encoding by with_content_encoding,
        priority by with_priority,
        correlation_id by with_correlation_id,
        reply_to by with_reply_to,
        message_id by with_message_id,
        timestamp by with_timestamp,
        kind by with_type,
        app_id by with_app_id
    );
    copy
}

/// How many bytes the headers take, about: they must fit into one frame.
pub(crate) fn headers_bytes(properties: &BasicProperties) -> usize {
    const AROUND: usize = 16;
    let size = |value: &AMQPValue| texts(value).iter().map(|text| text.len() + AROUND).sum::<usize>();
    properties
        .headers()
        .iter()
        .flatten()
        .map(|(name, value)| name.as_str().len() + AROUND + size(value))
        .sum()
}

/// The time by this machine's clock, in ms since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
