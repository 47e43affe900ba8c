//! Publishing: pipelined, bounded, in order per key.

mod pipe;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use saga_core::adapter::{Backoff, publish_in_order};
use saga_core::ports::{Published, TopicKind};
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind, Message};
use tokio::time::{Instant, sleep, timeout_at};

use self::pipe::Job;
pub(crate) use self::pipe::{Outcome, Publisher};
use crate::connect::Link;
use crate::error::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, code, said};
use crate::names::TopicName;
use crate::topology;
use crate::wire::{headers_bytes, to_wire};

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    exchange: ShortString,
    routing_key: ShortString,
    /// Whether it must reach a queue.
    is_mandatory: bool,
}

impl Target {
    /// To this queue and no other.
    pub(crate) fn queue(name: ShortString) -> Self {
        Self { exchange: "".into(), routing_key: name, is_mandatory: true }
    }

    fn topic(name: &TopicName, kind: TopicKind) -> Self {
        match kind {
            TopicKind::Commands => Self::queue(name.name()),
            // News that no group is there for yet are nobody's.
            TopicKind::Events => {
                Self { exchange: name.name(), routing_key: name.name(), is_mandatory: false }
            }
        }
    }

    /// The exchange as the server calls it in what it says.
    fn shown(&self) -> &str {
        match self.exchange.as_str() {
            "" => "amq.default",
            named => named,
        }
    }
}

/// Publishes a batch. Messages of one topic and key keep their order.
pub(crate) async fn publish(link: &Link, batch: Vec<Message>) -> Vec<Published> {
    publish_in_order(batch, link.config.publish_in_flight_max, |message| publish_one(link, message)).await
}

async fn publish_one(link: &Link, message: Message) -> Published {
    if let Err(error) = link.check_open() {
        return Published::Unknown(error);
    }
    match prepared(link, &message) {
        Ok((name, properties)) => Attempts::new(link, message).publish(&name, properties).await,
        Err(error) => Published::Rejected(error),
    }
}

/// What can be known before anything is sent.
fn prepared(link: &Link, message: &Message) -> Result<(TopicName, BasicProperties), Error> {
    let name = TopicName::new(&link.config.prefix, &message.topic)?;
    let properties = to_wire(message)?;
    let too_large = |what: &str, limit: usize| {
        let text = format!("{} is too large: {what} is over {limit} bytes", shown(message));
        Err(Error::new(ErrorKind::Permanent, text))
    };
    if message.size_bytes() > link.config.message_bytes_max {
        return too_large("the message", link.config.message_bytes_max);
    }
    if headers_bytes(&properties) > link.headers_bytes_max {
        return too_large("what stands in its headers", link.headers_bytes_max);
    }
    Ok((name, properties))
}

fn shown(message: &Message) -> String {
    format!("message {} to topic {}", message.id, message.topic)
}

/// The attempts to publish one message, within the time of a request.
struct Attempts<'a> {
    link: &'a Link,
    message: Message,
    deadline: Instant,
    backoff: Backoff,
    /// How often somebody else's message, or what was known of the topic, has got in the way.
    in_the_way: u32,
}

impl<'a> Attempts<'a> {
    const IN_THE_WAY_MAX: u32 = 5;

    fn new(link: &'a Link, message: Message) -> Self {
        const FIRST: Duration = Duration::from_millis(50);
        const MAX: Duration = Duration::from_secs(1);
        let deadline = Instant::now() + link.config.request_timeout();
        Self { link, message, deadline, backoff: Backoff::new(FIRST, MAX), in_the_way: 0 }
    }

    async fn publish(mut self, name: &TopicName, properties: BasicProperties) -> Published {
        loop {
            let kind = match topology::kind(self.link, &self.message.topic).await {
                Ok(Some(kind)) => kind,
                Ok(None) => return Published::Rejected(missing(&self.message.topic)),
                Err(error) if error.is_retryable() => return Published::Unknown(error),
                Err(error) => return Published::Rejected(error),
            };
            let target = Target::topic(name, kind);
            let payload = self.message.payload.bytes().clone();
            let outcome =
                send_by(self.link, target.clone(), properties.clone(), payload, self.deadline).await;
            if let Some(answer) = self.answer(&target, outcome).await {
                return answer;
            }
        }
    }

    /// What an outcome means; nothing, if it is worth another attempt.
    async fn answer(&mut self, target: &Target, outcome: Outcome) -> Option<Published> {
        match outcome {
            Outcome::Acked => {
                self.link.health.up(&self.part());
                Some(Published::Acked)
            }
            Outcome::Returned => self.without_a_place(),
            Outcome::Refused => self.without_room().await,
            Outcome::Failed(error) => self.failed(target, error),
            Outcome::Late => {
                let text = format!("{} was not acknowledged in time", shown(&self.message));
                Some(Published::Unknown(Error::new(ErrorKind::Unknown, text)))
            }
        }
    }

    /// Its queue is gone. What is known of the topic may be old.
    fn without_a_place(&mut self) -> Option<Published> {
        self.link.kinds().remove(&self.message.topic);
        if self.again() { None } else { Some(Published::Rejected(missing(&self.message.topic))) }
    }

    fn again(&mut self) -> bool {
        self.in_the_way += 1;
        self.in_the_way <= Self::IN_THE_WAY_MAX
    }

    /// The queue is full: whoever publishes is held back, for a bounded time and visibly.
    async fn without_room(&mut self) -> Option<Published> {
        let text = format!("RabbitMQ has no room in topic {}", self.message.topic);
        if self.link.health.down(&self.part(), &text) {
            tracing::warn!(topic = %self.message.topic, "RabbitMQ refuses messages, as when a queue is full; waiting for room");
        }
        let wait = self.backoff.wait();
        if Instant::now() + wait < self.deadline && self.link.check_open().is_ok() {
            sleep(wait).await;
            return None;
        }
        Some(Published::Unknown(Error::new(ErrorKind::Retry, text)))
    }

    /// The channel or the connection is gone.
    fn failed(&mut self, target: &Target, error: lapin::Error) -> Option<Published> {
        let text = format!("{} is not published", shown(&self.message));
        let about = said(&error).map(|said| said.get_message().to_string()).unwrap_or_default();
        let is_ours = about.contains(&format!("'{}'", target.shown()));
        let is_too_large = about.contains(&format!("message size {} ", self.message.payload.len()));
        match code(&error) {
            NOT_FOUND if is_ours => self.without_a_place(),
            ACCESS_REFUSED if is_ours => {
                self.link.health.down(&self.part(), &error);
                Some(Published::Rejected(crate::error::of(error, text)))
            }
            PRECONDITION_FAILED if is_too_large => Some(Published::Rejected(crate::error::of(error, text))),
            // Another one's message broke the channel.
            NOT_FOUND | ACCESS_REFUSED | PRECONDITION_FAILED if self.again() => None,
            _ => Some(Published::Unknown(Error::new(ErrorKind::Unknown, text).with_source(error))),
        }
    }

    /// What the health calls it.
    fn part(&self) -> String {
        format!("publishing to topic {}", self.message.topic)
    }
}

/// There is no such topic.
pub(crate) fn missing(topic: &Topic) -> Error {
    Error::new(ErrorKind::NotFound, format!("topic {topic} is not there: declare it before using it"))
}

/// Sends one message and waits until the server has it, at most for the time of a request.
pub(crate) async fn send(
    link: &Link,
    target: Target,
    properties: BasicProperties,
    payload: Bytes,
) -> Outcome {
    send_by(link, target, properties, payload, Instant::now() + link.config.request_timeout()).await
}

async fn send_by(
    link: &Link,
    target: Target,
    properties: BasicProperties,
    payload: Bytes,
    deadline: Instant,
) -> Outcome {
    let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let bytes = bytes.clamp(1, u32::try_from(link.config.publish_bytes_max).unwrap_or(u32::MAX));
    let (messages, room) = (Arc::clone(&link.messages), Arc::clone(&link.bytes));
    let sent = async move {
        // The pipe holds them until it has an answer, even when nobody waits for that any more.
        let message = messages.acquire_owned().await.expect("it is never closed");
        let bytes = room.acquire_many_owned(bytes).await.expect("it is never closed");
        let (job, answer) = Job::new(target, properties, payload, (message, bytes));
        link.publisher.put(job);
        answer.await.unwrap_or(Outcome::Late)
    };
    timeout_at(deadline, sent).await.unwrap_or(Outcome::Late)
}
