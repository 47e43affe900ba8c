mod broker;
mod builder;
mod dead;
mod faults;
mod group;
mod in_flight;
mod lanes;
mod operate;
mod publish;
mod subscription;
mod topic;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;

use self::broker::Broker;
pub use self::builder::MemoryBusBuilder;
pub use self::faults::{FaultTopics, Faults};
use self::subscription::{Member, MemorySubscription};
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::{
    Capabilities, DeadLetter, Declaration, EventBus, Health, Published, Subscription, SubscriptionSpec,
};
use crate::record::Topic;
use crate::wire::Message;

/// An [`EventBus`] in this process.
///
/// A `MemoryBus` is a connection, and cloning shares it; [`connect`](MemoryBus::connect) makes another one to the same topics, which closing the
/// first does not touch. What the topics hold is gone with the last connection and subscription.
///
/// - A topic of commands has one group, and its messages wait also before the group is declared. A topic of events keeps the newest
///   messages for groups that start from the earliest.
/// - Competing consumers take messages as they come. In a group where a subscription asked for order per key, that order is kept for
///   all of its members from then on: a key with an unsettled message delivers nothing else.
/// - A delivery that is dropped, or whose subscription is dropped, is ready again at once.
/// - Nothing is deduplicated, and order across keys, retries and redeliveries is not kept.
/// - All it holds is bounded: see [`MemoryBusBuilder`] for the limits. A message takes about 130 bytes besides its own.
///
/// ```
/// # use std::sync::Arc;
/// # use saga_core::{memory::MemoryBus, ports::*, record::Topic, wire::Message};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = MemoryBus::new();
/// let topic = Topic::new("inventory-check")?;
/// let group = Group { name: "inventory".into(), start: GroupStart::Earliest };
/// let declaration =
///     Declaration { topic: topic.clone(), kind: TopicKind::Commands, groups: vec![group.clone()] };
/// bus.declare(&[declaration]).await?;
/// bus.publish(vec![Message::new(topic.clone(), "reserve")]).await;
///
/// let spec = SubscriptionSpec { topic, group: group.name, in_flight_max: 64, key_order: false };
/// let subscription = bus.subscribe(spec).await?;
/// for delivery in subscription.next(64).await? {
///     assert_eq!(&delivery.message.payload[..], b"reserve");
///     subscription.settle(vec![delivery.ack()]).await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBus {
    connection: Arc<Connection>,
}

impl MemoryBus {
    /// A bus with the default limits and without faults.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// For other limits, another clock, or faults.
    pub const fn builder() -> MemoryBusBuilder {
        MemoryBusBuilder::new()
    }

    /// Another connection to the same topics, open whether this one is closed or not.
    #[must_use]
    pub fn connect(&self) -> Self {
        Self { connection: Arc::new(Connection::new(Arc::clone(&self.connection.broker))) }
    }

    /// From now on these faults, drawn from the beginning of their seed, for all connections.
    pub fn set_faults(&self, faults: Faults) {
        self.connection.broker.set_faults(faults);
    }

    /// The dead letters of all groups of a topic, the oldest first.
    pub fn dead_letters_of(&self, topic: &Topic) -> Vec<DeadLetter> {
        self.connection.broker.dead_letters(topic)
    }
}

/// Without what the topics hold: messages carry personal data.
impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("closed", &self.connection.is_closed()).finish_non_exhaustive()
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            key_order: true,
            atomic_publish: true,
            delayed_retry: true,
            replay: true,
            native_dead_letters: true,
            lag: true,
            message_bytes_max: Some(self.connection.broker.limits.message_bytes_max),
            ..Capabilities::none()
        }
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        self.connection.check_open()?;
        declarations.iter().try_for_each(|declaration| self.connection.broker.declare(declaration))
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        publish::publish(&self.connection, batch).await
    }

    async fn publish_atomic(&self, batch: Vec<Message>) -> Published {
        publish::publish_atomic(&self.connection, batch).await
    }

    fn health(&self) -> Health {
        Health::default()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        self.connection.check_open()?;
        Ok(Arc::new(MemorySubscription::join(&self.connection, &spec)?))
    }

    /// Its subscriptions leave their groups, and what they have not settled is ready again at once. Publishes that wait for room are
    /// answered [`Unknown`](Published::Unknown). There is nothing to wait for, so the deadline does not matter.
    async fn close(&self, _deadline: Duration) -> Result<(), Error> {
        self.connection.close();
        Ok(())
    }
}

/// What closing ends.
struct Connection {
    broker: Arc<Broker>,
    closed: AtomicBool,
    members: Mutex<Vec<Weak<Member>>>,
}

impl Connection {
    const fn new(broker: Arc<Broker>) -> Self {
        Self { broker, closed: AtomicBool::new(false), members: Mutex::new(Vec::new()) }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Stopped, "this connection to the in-memory bus is closed"));
        }
        Ok(())
    }

    /// Keeps a member in mind, for closing.
    fn remember(&self, member: &Arc<Member>) {
        let mut members = lock(&self.members);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(member));
        drop(members);
        if self.is_closed() {
            // Closed in the meantime: whoever closed may not have seen this one.
            member.leave();
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let members = std::mem::take(&mut *lock(&self.members));
        members.iter().filter_map(Weak::upgrade).for_each(|member| member.leave());
        self.broker.room.notify_waiters();
    }
}
