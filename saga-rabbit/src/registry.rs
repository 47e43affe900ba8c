//! What topics and groups there are: AMQP has no way to ask. Each one that is created or deleted is a line in a stream, which any number of
//! clients can read at once and which nobody's reading changes.

use std::collections::{BTreeMap, BTreeSet};
use std::str;

use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use saga_core::ports::TopicKind;
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::connect::Link;
use crate::error;
use crate::names;
use crate::publish::{Outcome, Target, send};
use crate::topology::{self, Settings};

/// How long the rest of what was written together is waited for: it comes together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long it is waited for the last line of a stream that may have none yet.
const LAST_MAX: Duration = Duration::from_secs(2);
/// How soon a line is written again to a stream that is not ready.
const STREAM_STARTS: Duration = Duration::from_millis(200);
const READ_AHEAD: u16 = 1_000;
/// Persistent.
const DELIVERY_MODE: u8 = 2;

/// A line to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note<'a> {
    Topic(&'a Topic, TopicKind),
    Group(&'a Topic, &'a str),
    Gone(&'a Topic),
}

impl Note<'_> {
    pub(crate) fn line(self) -> String {
        match self {
            Self::Topic(topic, TopicKind::Commands) => format!("commands {topic}"),
            Self::Topic(topic, TopicKind::Events) => format!("events {topic}"),
            // The group comes last: it may have spaces.
            Self::Group(topic, group) => format!("group {topic} {group}"),
            Self::Gone(topic) => format!("gone {topic}"),
        }
    }
}

/// The groups of each topic that was written down and not taken out again. What is there no more may still stand here.
pub(crate) type Registry = BTreeMap<Topic, BTreeSet<String>>;

/// Writes a line. A server that has no streams lists no topics, and works otherwise.
pub(crate) async fn note(link: &Link, note: Note<'_>) -> Result<(), Error> {
    let name = names::registry(&link.config.prefix);
    let ensured = topology::ensure_queue(link, "the list of topics", name.clone(), Settings::stream()).await;
    if let Err(error) = ensured {
        if error.is_retryable() {
            return Err(error);
        }
        tracing::warn!(%error, "topics are not written down, so they cannot be listed");
        return Ok(());
    }
    let deadline = Instant::now() + link.config.request_timeout();
    loop {
        let properties = BasicProperties::default().with_delivery_mode(DELIVERY_MODE);
        match send(link, Target::queue(name.clone()), properties, note.line().into()).await {
            Outcome::Acked => return Ok(()),
            // A stream that somebody creates just now is there before it can be written to.
            Outcome::Failed(_) if Instant::now() + STREAM_STARTS < deadline => sleep(STREAM_STARTS).await,
            failed => {
                let message = format!("RabbitMQ did not take a line of the list of topics: {failed:?}");
                return Err(Error::new(ErrorKind::Retry, message));
            }
        }
    }
}

/// Reads all lines.
pub(crate) async fn read(link: &Link) -> Result<Registry, Error> {
    let name = names::registry(&link.config.prefix);
    if topology::stat(link, name.clone()).await?.is_none() {
        return Ok(Registry::new());
    }
    let what = "the list of topics";
    let lines = link.ask(what, |channel| async move {
        let last = match timeout(LAST_MAX, first_offset(&channel, "last", name.clone())).await {
            Ok(last) => last?,
            Err(_) => return Ok(Vec::new()),
        };
        read_to(&channel, name.clone(), last).await
    });
    let lines = lines.await?.map_err(|error| error::of(error, format!("{what} cannot be read")))?;
    Ok(lines.iter().fold(Registry::new(), |mut registry, line| {
        follow(&mut registry, line);
        registry
    }))
}

async fn consume(channel: &Channel, from: &str, name: ShortString) -> lapin::Result<lapin::Consumer> {
    channel.basic_qos(READ_AHEAD, BasicQosOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString(from.into()));
    channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), arguments).await
}

/// Where the lines begin that were written last.
async fn first_offset(channel: &Channel, from: &str, name: ShortString) -> lapin::Result<i64> {
    let mut consumer = consume(channel, from, name).await?;
    match consumer.next().await {
        Some(delivery) => Ok(offset(&delivery?)),
        None => Ok(i64::MAX),
    }
}

/// Reads from the first line to that one, and what was written together with it.
async fn read_to(channel: &Channel, name: ShortString, last: i64) -> lapin::Result<Vec<Vec<u8>>> {
    let mut consumer = consume(channel, "first", name).await?;
    let mut lines = Vec::new();
    let mut is_near_the_end = false;
    loop {
        let next = match is_near_the_end {
            true => timeout(TOGETHER, consumer.next()).await.unwrap_or(None),
            false => consumer.next().await,
        };
        let Some(delivery) = next else { return Ok(lines) };
        let delivery = delivery?;
        is_near_the_end |= offset(&delivery) >= last;
        delivery.ack(BasicAckOptions::default()).await?;
        lines.push(delivery.data);
    }
}

fn offset(delivery: &lapin::message::Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    let offset = headers.and_then(|headers| headers.inner().get("x-stream-offset"));
    offset.and_then(AMQPValue::as_long_long_int).unwrap_or_default()
}

/// Does what a line says. A line of a later version that is not understood is passed over.
pub(crate) fn follow(registry: &mut Registry, line: &[u8]) {
    let Some((verb, rest)) = str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else { return };
    let (name, group) = rest.split_once(' ').map_or((rest, None), |(name, group)| (name, Some(group)));
    let Ok(topic) = Topic::new(name) else { return };
    match (verb, group) {
        ("commands" | "events", None) => {
            registry.entry(topic).or_default();
        }
        ("group", Some(group)) => {
            registry.entry(topic).or_default().insert(group.to_owned());
        }
        ("gone", None) => {
            registry.remove(&topic);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_followed_in_their_order() {
        let (a, b) = (Topic::new("a").unwrap(), Topic::new("b").unwrap());
        let notes = [
            Note::Topic(&a, TopicKind::Commands),
            Note::Group(&a, "old"),
            Note::Gone(&a),
            Note::Topic(&a, TopicKind::Events),
            Note::Group(&a, "with a space"),
            Note::Topic(&b, TopicKind::Commands),
        ];
        let mut registry = Registry::new();
        for note in notes {
            follow(&mut registry, note.line().as_bytes());
        }
        for unknown in [&b"moved a b"[..], b"gone", b"\xff", b"commands !"] {
            follow(&mut registry, unknown);
        }
        let shown: Vec<_> = registry.iter().map(|(topic, groups)| (topic.as_str(), groups.len())).collect();
        assert_eq!(shown, [("a", 1), ("b", 0)]);
        assert!(registry[&a].contains("with a space"));
    }
}
