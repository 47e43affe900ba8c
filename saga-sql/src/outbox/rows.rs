use std::sync::Arc;

use saga_core::record::{RunId, Timestamp, Topic};
use saga_core::wire::Headers;
use saga_core::{Error, ErrorKind, Message, Payload};

use crate::stored::{corrupt, from_column};

/// A key is part of an index, where PostgreSQL takes about 2,700 bytes.
const KEY_BYTES_MAX: usize = 1_024;

/// A message to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Its id.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// What keeps its order: its topic and key, or, without a key, it alone.
    pub lane: String,
    /// Its headers, as a JSON array of pairs.
    pub headers: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl NewRow {
    pub(crate) fn of(message: &Message) -> Result<Self, Error> {
        let invalid = |problem: &str| {
            let message = format!("message {} for topic {}: {problem}", message.id, message.topic);
            Error::new(ErrorKind::Invalid, message)
        };
        let key = message.key.as_deref();
        if key.is_some_and(|key| key.len() > KEY_BYTES_MAX) {
            return Err(invalid("its key is longer than 1,024 bytes, which the outbox does not take"));
        }
        let topic = message.topic.as_str();
        // Neither character can stand in a topic's name.
        let lane = key.map_or_else(|| format!("{topic}#{}", RunId::random()), |key| format!("{topic}/{key}"));
        let pairs: Vec<_> = message.headers.iter().collect();
        Ok(Self {
            id: message.id.as_str().to_owned(),
            topic: topic.to_owned(),
            key: key.map(ToOwned::to_owned),
            lane,
            headers: serde_json::to_string(&pairs)
                .map_err(|error| invalid("its headers cannot be written as JSON").with_source(error))?,
            payload: message.payload.to_vec(),
        })
    }
}

/// Which rows to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// The claim's own name.
    pub claim: String,
    /// Only lanes after this one, in the order of their names.
    pub after: String,
    /// Of how many lanes.
    pub lanes_max: u32,
    /// How many of each lane.
    pub per_lane_max: u32,
    /// For how long, in milliseconds.
    pub ttl_ms: i64,
}

/// A claimed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedRow {
    /// Its number, which orders its lane.
    pub number: i64,
    /// The message as it was inserted.
    pub row: NewRow,
    /// How often it has been tried in vain.
    pub attempts: i64,
}

/// What became of claimed rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    /// Whose they are.
    pub claim: String,
    /// Published: to be dropped.
    pub published: Vec<i64>,
    /// Not tried: free at once.
    pub untried: Vec<i64>,
    /// Tried in vain: to be tried again after so many milliseconds, with the reason.
    pub failed: Vec<(i64, i64, String)>,
    /// Refused for good, with the reason.
    pub refused: Vec<(i64, String)>,
}

/// How much is in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxState {
    /// Messages that wait, those behind a refused one included.
    pub waiting: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// When the oldest that waits was put in.
    pub oldest_at: Option<Timestamp>,
}

impl OutboxState {
    pub(crate) fn of(waiting: i64, refused: i64, oldest_at: Option<i64>) -> Self {
        let oldest_at = oldest_at.map(from_column);
        Self { waiting: waiting.unsigned_abs(), refused: refused.unsigned_abs(), oldest_at }
    }
}

/// A message that the bus refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedMessage {
    /// Its number in the outbox, by which it is retried or discarded.
    pub number: i64,
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: String,
    /// When it was refused.
    pub at: Timestamp,
    /// How many messages of its key wait behind it.
    pub behind: u64,
}

/// A refused row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRefused {
    /// The row.
    pub row: ClaimedRow,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How many rows of its lane come after it.
    pub behind: i64,
}

impl RefusedMessage {
    pub(super) fn of(raw: RawRefused) -> Result<Self, Error> {
        let RawRefused { row, reason, at, behind } = raw;
        let number = row.number;
        Ok(Self {
            number,
            message: message_of(row)?,
            reason,
            at: from_column(at),
            behind: behind.unsigned_abs(),
        })
    }
}

/// The message that was put in.
pub(crate) fn message_of(claimed: ClaimedRow) -> Result<Message, Error> {
    let ClaimedRow { number, row, .. } = claimed;
    let place = || format!("row {number} of table saga_outbox cannot be read");
    let topic = Topic::new(row.topic).map_err(|error| corrupt(place()).with_source(error))?;
    let pairs: Vec<(String, String)> =
        serde_json::from_str(&row.headers).map_err(|error| corrupt(place()).with_source(error))?;
    let headers: Headers = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let mut message = Message::new(topic, Payload::from(row.payload)).with_id(row.id);
    message.key = row.key.map(Arc::from);
    message.headers = headers;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str) -> Message {
        Message::new(Topic::new(topic).unwrap(), vec![0, 255, 7])
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let message = message("orders").keyed("grün").with_headers([("a", "1"), ("a", "\n\0\"")]);
        let row = NewRow::of(&message).unwrap();
        assert_eq!(message_of(ClaimedRow { number: 1, row, attempts: 0 }).unwrap(), message);
    }

    #[test]
    fn only_a_key_makes_an_order() {
        let lane = |message: &Message| NewRow::of(message).unwrap().lane;
        assert_eq!(lane(&message("a").keyed("k")), lane(&message("a").keyed("k")));
        assert_ne!(lane(&message("a").keyed("k")), lane(&message("b").keyed("k")));
        assert_ne!(lane(&message("a")), lane(&message("a")));
    }

    #[test]
    fn a_key_that_no_index_takes_is_refused() {
        let error = NewRow::of(&message("a").keyed("k".repeat(KEY_BYTES_MAX + 1))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("1,024 bytes"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_said_where() {
        let mut row = NewRow::of(&message("a")).unwrap();
        row.headers = "x".into();
        let error = message_of(ClaimedRow { number: 7, row, attempts: 0 }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("row 7 of table saga_outbox"), "{error}");
    }
}
