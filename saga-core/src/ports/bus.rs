use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::delivery::{Delivery, Settled, Settlement};
use super::health::Health;
use crate::error::Error;
use crate::record::{Timestamp, Topic};
use crate::wire::Message;

/// The event bus: topics, groups, deliveries.
///
/// # Contract
/// - Messages of a topic of [`TopicKind::Commands`] are consumed once by whoever shares the work, and wait from their publishing on.
///   A topic of [`TopicKind::Events`] goes whole to each of its groups.
/// - At least once for each group: what was [`Published::Acked`] is delivered until it is settled. Duplicates, and any order across keys
///   and retries, are to be expected. Never promised: exactly once, exclusive ownership of a partition, precise delays.
/// - A group is durable from its declaration on: declare before you publish.
/// - The adapter carries [`Message::id`], key, headers and payload unchanged, and never deduplicates: a message sent again with the same
///   id arrives again. A message of somebody else's producer that has no id is given one.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait EventBus: Send + Sync + fmt::Debug {
    /// What this bus can do. Whoever needs more says so at start, never later.
    fn capabilities(&self) -> Capabilities;

    /// Creates the topics and groups that are not there yet; what is there already and fits is left as it is.
    ///
    /// # Errors
    /// [`Permanent`](crate::ErrorKind::Permanent) when one exists and differs, saying what differs;
    /// [`Invalid`](crate::ErrorKind::Invalid) when nothing can be called so on this broker; [`Retry`](crate::ErrorKind::Retry) when the broker is
    /// away. Dropping the future may leave some of them created.
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error>;

    /// Publishes, and answers for each message, in the order given, once the broker has made it durable or refused it. Waits while the
    /// broker takes no more.
    ///
    /// Dropping the future leaves it open which of them were published.
    async fn publish(&self, batch: Vec<Message>) -> Vec<Published>;

    /// Publishes a batch, over several topics if need be, whole or not at all, and answers once for all of it. Readers of one topic may see their
    /// part before readers of another see theirs; nobody ever sees a part of a batch that failed.
    ///
    /// On a bus without [`Capabilities::atomic_publish`] the answer is [`Rejected`](Published::Rejected) as
    /// [`NotAllowed`](crate::ErrorKind::NotAllowed), and nothing was published. One message that is refused refuses the batch. After
    /// [`Unknown`](Published::Unknown), or when the future was dropped, all of it is there or none: publish it again with the same ids.
    async fn publish_atomic(&self, batch: Vec<Message>) -> Published;

    /// Joins a group.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the topic or group was not declared;
    /// [`Permanent`](crate::ErrorKind::Permanent) when the subscription asks for what the bus cannot do.
    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error>;

    /// What is wrong at the moment, as far as this client knows: a connection that is down, a topic that vanished. Never waits.
    fn health(&self) -> Health;

    /// Flushes what was accepted and closes connections, within `deadline`. Calls from then on fail as
    /// [`Stopped`](crate::ErrorKind::Stopped). Closing twice is closing once.
    async fn close(&self, deadline: Duration) -> Result<(), Error>;
}

/// What a bus can do. What it cannot is a clear error at start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A subscription can ask for order per key.
    pub key_order: bool,
    /// `retry(after)` is kept by the bus, without holding up other messages.
    pub delayed_retry: bool,
    /// A batch over several topics can be all or nothing.
    pub atomic_publish: bool,
    /// A group declared late can start from the earliest retained message.
    pub replay: bool,
    /// The bus has dead letters of its own.
    pub native_dead_letters: bool,
    /// [`Subscription::lag`] is true, not an estimate.
    pub lag: bool,
    /// The largest [`Message::size_bytes`] that can be published; `None` if it has no limit.
    pub message_bytes_max: Option<usize>,
}

impl Capabilities {
    /// A bus that can do nothing but the contract, with no size limit. Set what yours can do.
    pub const fn none() -> Self {
        Self {
            key_order: false,
            delayed_retry: false,
            atomic_publish: false,
            replay: false,
            native_dead_letters: false,
            lag: false,
            message_bytes_max: None,
        }
    }
}

/// A topic to be there, with groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The topic.
    pub topic: Topic,
    /// Which kind.
    pub kind: TopicKind,
    /// The groups that read it. A topic of commands has one.
    pub groups: Vec<Group>,
}

/// How a topic's messages are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// Work: each message is for one consumer, and waits until it is settled.
    Commands,
    /// News: each message goes to every group; kept for groups that come late as long as the topic's retention says.
    Events,
}

/// A group of consumers that share a topic's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Where it starts when it is created; a group that exists goes on where it was.
    pub start: GroupStart,
}

/// Where a new group starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupStart {
    /// With the oldest message still kept.
    Earliest,
    /// With what is published from now on.
    Latest,
}

/// What to read, as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// The topic.
    pub topic: Topic,
    /// The group.
    pub group: Arc<str>,
    /// How many deliveries may be unsettled at once.
    pub in_flight_max: usize,
    /// Whether messages of one key must come in order, one after the other. Commands of sagas do not need it.
    pub key_order: bool,
}

/// What became of a published message.
#[derive(Debug)]
pub enum Published {
    /// The broker has it durably.
    Acked,
    /// The broker refuses it for good: too large, no such topic, no permission.
    Rejected(Error),
    /// It may or may not be there. Publish it again with the same id.
    Unknown(Error),
}

/// A member of a group, reading one topic.
///
/// # Contract
/// - All methods may be called at once from several tasks.
/// - Dropping the last reference leaves the group; what was delivered and not settled is delivered again, to anyone of the group.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Subscription: Send + Sync + fmt::Debug {
    /// Waits for at least one delivery and returns what is there, at most `max`. Waits also while
    /// [`in_flight_max`](SubscriptionSpec::in_flight_max) deliveries are unsettled.
    ///
    /// Cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) once closed; [`Retry`](crate::ErrorKind::Retry) when the broker is away, after which it may be called
    /// again; [`NotFound`](crate::ErrorKind::NotFound) when the topic or group was deleted.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error>;

    /// Settles deliveries of this subscription, with one answer for each in the order given.
    ///
    /// An adapter acknowledges a retried or dead-lettered message only after its copy is durable; where that fails, the message counts
    /// as dropped and is delivered again. Dropping the future leaves open which were settled; the rest is delivered again.
    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled>;

    /// From now on at most this many deliveries are unsettled at once. When that is fewer than there are, nothing is taken back: no more is delivered
    /// until enough are settled. Zero pauses the delivery.
    fn set_in_flight_max(&self, in_flight_max: usize);

    /// How far behind the group is.
    ///
    /// # Errors
    /// [`Retry`](crate::ErrorKind::Retry) when the broker is away.
    async fn lag(&self) -> Result<Lag, Error>;

    /// Stops delivering: pending and later calls of [`next`](Subscription::next) fail as [`Stopped`](crate::ErrorKind::Stopped). What was
    /// delivered can still be settled.
    async fn close(&self);
}

/// How far behind a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages waiting to be delivered, those waiting for their retry not included.
    pub ready: u64,
    /// Messages delivered and not settled.
    pub in_flight: u64,
    /// When the oldest message in `ready` was published, if the bus can tell.
    pub oldest_ready: Option<Timestamp>,
}
