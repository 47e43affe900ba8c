//! Looking at a queue: messages are taken, and given back with the channel. RabbitMQ has no other way. What was seen is put behind the rest, and
//! its count of deliveries is one higher.

use bytes::Bytes;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use saga_core::record::{Timestamp, Topic};
use saga_core::{Error, Message};
use tokio::time::timeout;

use crate::connect::Link;
use crate::error;
use crate::line::GOODBYE;
use crate::wire::{Own, from_wire};

/// How many messages are looked at at once, at most; of more dead letters than these the oldest are not surely found.
pub(super) const LOOKED_AT_MAX: usize = 10_000;
/// How many bytes of payload are looked at at once, at most.
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;

/// A message that was seen.
pub(super) struct Seen {
    pub(super) message: Message,
    pub(super) own: Own,
    pub(super) properties: BasicProperties,
    tag: u64,
}

impl Seen {
    /// When it was published, as its producer said.
    pub(super) fn published_at(&self) -> Option<Timestamp> {
        let seconds = self.properties.timestamp().as_ref()?;
        Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
    }

    /// When it was given up, in ms since 1970; of what the server gave up, when it was published.
    pub(super) fn given_up_at(&self) -> u64 {
        let published = || self.published_at().map_or(0, Timestamp::as_millis);
        self.own.dead_at_ms.unwrap_or_else(published)
    }
}

/// A channel that messages are looked at on.
pub(super) struct Look<'a> {
    link: &'a Link,
    topic: Topic,
    channel: Channel,
}

impl<'a> Look<'a> {
    pub(super) async fn begin(link: &'a Link, topic: &Topic) -> Result<Self, Error> {
        let limit = link.config.request_timeout();
        let begun = timeout(limit, async {
            let connection = link.consuming.connection().await?;
            connection.create_channel().await.map_err(|error| error::of(error, "no channel can be had"))
        });
        let channel = begun.await.unwrap_or_else(|_| Err(error::unanswered(topic.as_str())))?;
        Ok(Self { link, topic: topic.clone(), channel })
    }

    /// Takes messages from the front of a queue.
    pub(super) async fn see(&self, queue: &ShortString, max: usize) -> Result<Vec<Seen>, Error> {
        let limit = self.link.config.request_timeout();
        let mut seen = Vec::new();
        let mut bytes = 0;
        while seen.len() < max && bytes < LOOKED_AT_BYTES_MAX {
            let got = timeout(limit, self.channel.basic_get(queue.clone(), BasicGetOptions::default())).await;
            let got = got.map_err(|_| error::unanswered(queue.as_str()))?;
            let got = got.map_err(|error| error::of(error, format!("queue {queue} cannot be looked at")))?;
            let Some(got) = got else { break };
            let delivery = got.delivery;
            bytes += delivery.data.len();
            let (message, own) = from_wire(&self.topic, &delivery.properties, Bytes::from(delivery.data));
            seen.push(Seen { message, own, properties: delivery.properties, tag: delivery.delivery_tag });
        }
        Ok(seen)
    }

    /// The dead letters of a queue that were given up first. They may stand in another order, since they were looked at before.
    pub(super) async fn oldest(&self, queue: &ShortString, max: usize) -> Result<Vec<Seen>, Error> {
        let mut seen = self.see(queue, LOOKED_AT_MAX).await?;
        seen.sort_by_key(Seen::given_up_at);
        seen.truncate(max);
        Ok(seen)
    }

    /// Takes a message away for good.
    pub(super) async fn take(&self, seen: &Seen) -> Result<(), Error> {
        let taken = self.channel.basic_ack(seen.tag, BasicAckOptions::default()).await;
        taken.map_err(|error| error::of(error, format!("message {} cannot be taken away", seen.message.id)))
    }

    /// Gives back what was not taken.
    pub(super) async fn give_back(self) {
        // A broken one gives it back, too.
        let limit = self.link.config.request_timeout();
        let _closed = timeout(limit, self.channel.close(GOODBYE, "seen".into())).await;
    }
}
