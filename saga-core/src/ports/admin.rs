use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::TopicKind;
use crate::error::Error;
use crate::record::{Timestamp, Topic};
use crate::wire::Message;

/// Running a bus: its topics, groups and dead letters. The port beside [`EventBus`](super::EventBus), for tools and operators.
///
/// # Contract
/// - It sees the topics of one environment, that of the configured prefix, under the names that services use. The topics that an
///   adapter makes for itself (retries, dead letters) are not listed.
/// - What a broker has not is refused as [`NotAllowed`](crate::ErrorKind::NotAllowed), saying what and why; nothing is left out silently.
/// - A topic or group that is not there is [`NotFound`](crate::ErrorKind::NotFound); a broker that is away is
///   [`Retry`](crate::ErrorKind::Retry).
/// - Nothing here disturbs consumers: looking at messages or dead letters takes none away.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait BusAdmin: Send + Sync + fmt::Debug {
    /// Creates a topic with these settings. One that is there already and has them is left as it is.
    ///
    /// # Errors
    /// [`Permanent`](crate::ErrorKind::Permanent) when it exists with other settings, saying which differ;
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed) for a setting that the broker has not.
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error>;

    /// Deletes a topic with its messages, its groups and what the adapter made for them.
    async fn delete_topic(&self, topic: &Topic) -> Result<(), Error>;

    /// The names of all topics, in order.
    async fn topics(&self) -> Result<Vec<Topic>, Error>;

    /// What the broker says of a topic.
    async fn describe_topic(&self, topic: &Topic) -> Result<TopicDescription, Error>;

    /// Looks at the messages that a topic keeps, at most `max`, those of one partition in their order.
    async fn peek(&self, topic: &Topic, from: PeekFrom, max: usize) -> Result<Vec<Peeked>, Error>;

    /// The groups of a topic, with their members and how far behind they are, in the order of their names.
    async fn groups(&self, topic: &Topic) -> Result<Vec<GroupDescription>, Error>;

    /// The dead letters that a group of a topic has given up, the oldest first, at most `max`.
    async fn dead_letters(&self, topic: &Topic, group: &str, max: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Sends a group's dead letters to their topic again, the oldest first, at most `max`: with the same id, key and headers. Other groups of a
    /// topic of events may see them again, too.
    ///
    /// A command of a saga stays where it is, as evidence: its saga has moved on, and only the coordinator can send it again, as a new
    /// round; see [`Sagas::redrive`](crate::Sagas::redrive).
    ///
    /// A letter is taken away once its copy is durable: a crash in between leaves it twice, never not at all.
    async fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error>;
}

/// A topic to be created. What is `None` is left to the adapter's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub topic: Topic,
    /// Which kind.
    pub kind: TopicKind,
    /// Into how many parts it is divided, each of them in order.
    pub partitions: Option<u32>,
    /// How many brokers keep a copy.
    pub replication: Option<u16>,
    /// How long messages are kept.
    pub retention: Option<Duration>,
    /// How the broker compresses what it stores.
    pub compression: Option<Compression>,
    /// What becomes of old messages.
    pub cleanup: Option<Cleanup>,
    /// How long a file of the broker's log is written to before the next is begun.
    pub segment: Option<Duration>,
}

impl TopicSpec {
    /// A topic with the settings that the adapter is configured with.
    pub const fn new(topic: Topic, kind: TopicKind) -> Self {
        Self {
            topic,
            kind,
            partitions: None,
            replication: None,
            retention: None,
            compression: None,
            cleanup: None,
            segment: None,
        }
    }
}

/// How a broker compresses what it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// What becomes of old messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cleanup {
    /// They are deleted after their retention.
    Delete,
    /// The newest of each key is kept.
    Compact,
}

/// What a broker says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its settings; `None` is what the broker has not or does not tell.
    pub spec: TopicSpec,
    /// How many messages it keeps, if the broker can tell. On a log this is an upper bound.
    pub messages: Option<u64>,
    /// Further settings, by the broker's own names.
    pub settings: BTreeMap<String, String>,
}

impl TopicDescription {
    /// For adapters.
    pub const fn new(spec: TopicSpec) -> Self {
        Self { spec, messages: None, settings: BTreeMap::new() }
    }
}

/// Where looking at messages begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeekFrom {
    /// With the oldest that is kept.
    Earliest,
    /// So that the newest is the last one seen.
    Latest,
}

/// A message that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// The message.
    pub message: Message,
    /// Where it is, by the broker's own count: a partition and an offset, a sequence number.
    pub place: String,
    /// When it was published, if the broker can tell.
    pub at: Option<Timestamp>,
}

/// A group of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub name: Arc<str>,
    /// What the broker says of its state, in the broker's own word.
    pub state: String,
    /// Who reads as this group now. On some brokers only how many is known; those have no names.
    pub members: Vec<GroupMember>,
    /// How many messages wait for it, those in flight included.
    pub lag: u64,
    /// The same by partition, where the broker has partitions.
    pub partitions: Vec<GroupPartition>,
}

impl GroupDescription {
    /// For adapters.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), state: String::new(), members: Vec::new(), lag: 0, partitions: Vec::new() }
    }
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// The client's name.
    pub client: String,
    /// Where it runs.
    pub host: String,
}

/// How far a group is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPartition {
    /// Which partition.
    pub partition: u32,
    /// The first message that the group has not settled, if it ever settled one.
    pub offset: Option<u64>,
    /// Where the next message will be written.
    pub end: u64,
    /// How many messages lie between.
    pub lag: u64,
}

/// A message that a group gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message as it was published, with the headers `ce-deadreason`, `ce-deadtopic` and `ce-deadgroup` added.
    pub message: Message,
    /// Why.
    pub reason: String,
    /// The group that gave it up.
    pub group: Arc<str>,
    /// How often it had been delivered to that group.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
}

/// What became of dead letters that were to be sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// How many were sent again.
    pub sent: u64,
    /// How many were commands of sagas, and stay.
    pub kept: u64,
}
