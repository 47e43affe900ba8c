use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

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
///   id arrives again.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait EventBus: Send + Sync + fmt::Debug {
    /// What this bus can do. Whoever needs more says so at start, never later.
    fn capabilities(&self) -> Capabilities;

    /// Creates the topics and groups that are not there yet; what is there already and fits is left as it is.
    ///
    /// # Errors
    /// [`Permanent`](crate::ErrorKind::Permanent) when one exists and differs, saying what differs;
    /// [`Retry`](crate::ErrorKind::Retry) when the broker is away. Dropping the future may leave some of them created.
    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error>;

    /// Publishes, and answers for each message, in the order given, once the broker has made it durable or refused it. Waits while the
    /// broker takes no more.
    ///
    /// Dropping the future leaves it open which of them were published.
    async fn publish(&self, batch: Vec<Message>) -> Vec<Published>;

    /// Joins a group.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the topic or group was not declared;
    /// [`Permanent`](crate::ErrorKind::Permanent) when the subscription asks for what the bus cannot do.
    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error>;

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

/// A message handed to a consumer, to be settled once: [`ack`](Delivery::ack), [`retry`](Delivery::retry) or
/// [`dead_letter`](Delivery::dead_letter), each of which consumes it. Dropped without, it is delivered again.
///
/// ```compile_fail,E0382
/// # fn settle_twice(delivery: saga_core::ports::Delivery) {
/// let once = delivery.ack();
/// let twice = delivery.ack(); // the delivery is gone: this does not compile
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped is delivered again"]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Which delivery of this message to this group it is, from 1. A hint: a broker may lose count.
    pub attempt: u32,
    receipt: Receipt,
}

impl Delivery {
    /// For adapters: hands a message out.
    pub const fn new(message: Message, attempt: u32, receipt: Receipt) -> Self {
        Self { message, attempt, receipt }
    }

    /// Done with it.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn ack(self) -> Settlement {
        self.settle(Disposition::Ack)
    }

    /// To be delivered again, no sooner than `after`, with the attempt one higher.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn retry(self, after: Duration) -> Settlement {
        self.settle(Disposition::Retry { after })
    }

    /// To be put with the dead letters, with the reason.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn dead_letter(self, reason: impl Into<String>) -> Settlement {
        self.settle(Disposition::DeadLetter { reason: reason.into() })
    }

    fn settle(self, disposition: Disposition) -> Settlement {
        Settlement { message: self.message, attempt: self.attempt, disposition, receipt: self.receipt }
    }
}

/// A decision on a delivery, for [`Subscription::settle`]. Dropped instead, the message is delivered again.
#[derive(Debug)]
#[must_use = "pass it to `Subscription::settle`"]
pub struct Settlement {
    /// The message, for adapters that publish it anew.
    pub message: Message,
    /// Its attempt.
    pub attempt: u32,
    /// What is to become of it.
    pub disposition: Disposition,
    /// Which delivery.
    pub receipt: Receipt,
}

/// What is to become of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Done.
    Ack,
    /// Deliver again.
    Retry {
        /// No sooner than this.
        after: Duration,
    },
    /// Put with the dead letters.
    DeadLetter {
        /// Why.
        reason: String,
    },
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It took effect.
    Settled,
    /// Too late: the delivery had been taken back, and the message is or was delivered again.
    Stale,
}

/// What an adapter needs to find a delivery again. Dropping it unspent tells its [`ReceiptHome`].
pub struct Receipt {
    token: u64,
    home: Option<Arc<dyn ReceiptHome>>,
}

/// Where an adapter hears that a delivery was dropped unsettled.
pub trait ReceiptHome: Send + Sync {
    /// The delivery with this token was dropped: deliver its message again. Must not block.
    fn dropped(&self, token: u64);
}

impl Receipt {
    /// A receipt with a token of the adapter's choice.
    pub fn new(token: u64, home: Arc<dyn ReceiptHome>) -> Self {
        Self { token, home: Some(home) }
    }

    /// Takes the token out; the receipt's drop then says nothing.
    pub fn spend(mut self) -> u64 {
        self.home = None;
        self.token
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.dropped(self.token);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("token", &self.token).finish_non_exhaustive()
    }
}
