use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::Connection;
use super::broker::Broker;
use super::group::Taken;
use super::topic::TopicCell;
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::{Delivery, Lag, ReceiptHome, Settled, Settlement, Subscription, SubscriptionSpec};
use crate::record::Timestamp;

/// A member of a group. Dropping it leaves the group.
pub(super) struct MemorySubscription {
    member: Arc<Member>,
}

/// What the subscription, its receipts and its connection know of it.
pub(super) struct Member {
    broker: Arc<Broker>,
    topic: Arc<TopicCell>,
    group: usize,
    group_name: Arc<str>,
    id: u32,
}

impl MemorySubscription {
    /// Joins the group.
    pub(super) fn join(connection: &Connection, spec: &SubscriptionSpec) -> Result<Self, Error> {
        let (topic_name, group_name) = (&spec.topic, &spec.group);
        if spec.in_flight_max == 0 {
            let message = format!(
                "group {group_name} of topic {topic_name}: in_flight_max is 0, so nothing could be delivered"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let broker = Arc::clone(&connection.broker);
        let topic = broker.topic(topic_name)?;
        let id = broker.number();
        let group = {
            let mut state = lock(&topic.state);
            let Some(group) = state.position(group_name) else {
                let message = format!(
                    "group {group_name} of topic {topic_name} was not declared: declare it before subscribing"
                );
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            state.groups[group].join(id, spec);
            group
        };
        let member = Arc::new(Member { broker, topic, group, group_name: Arc::clone(group_name), id });
        connection.remember(&member);
        Ok(Self { member })
    }

    /// What is there now, or until when nothing changes by itself.
    fn take(&self, max: usize) -> Result<Result<Vec<Delivery>, Option<Timestamp>>, Error> {
        let Member { broker, topic, group, id, .. } = &*self.member;
        let home = Arc::clone(&self.member) as Arc<dyn ReceiptHome>;
        let mut state = lock(&topic.state);
        if state.is_deleted {
            return Err(self.member.deleted());
        }
        let group = &mut state.groups[*group];
        let was_full = group.waiting() >= broker.limits.topic_messages_max;
        let taken = group.take(*id, max, &*broker.clock, &home);
        drop(state);
        match taken {
            Taken::Closed => Err(self.member.stopped()),
            Taken::None { due } => Ok(Err(due)),
            Taken::Some(batch) => {
                if was_full {
                    broker.room.notify_waiters();
                }
                Ok(Ok(batch))
            }
        }
    }
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        // A bus that is always ready would starve the other tasks of its thread. Nothing is taken yet, so nothing can be lost here.
        tokio::task::coop::consume_budget().await;
        let Member { broker, topic, group_name, .. } = &*self.member;
        if max == 0 {
            let message = format!("group {group_name} of topic {}: next(0) would wait for ever", topic.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Ok(batch) = self.take(max)? {
            return Ok(batch);
        }
        loop {
            // Made before the look: a wake-up between the look and the wait then counts.
            let woken = topic.wake.notified();
            match self.take(max)? {
                Ok(batch) => return Ok(batch),
                Err(None) => woken.await,
                Err(Some(due)) => tokio::select! {
                    biased;
                    () = woken => {}
                    () = broker.clock.sleep(due.since(broker.clock.now())) => {}
                },
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        let Member { broker, topic, group, group_name, id } = &*self.member;
        let now = broker.clock.now();
        let mut given_up = Vec::new();
        let mut state = lock(&topic.state);
        let members = &mut state.groups[*group];
        let mut settle = |Settlement { receipt, disposition, .. }| {
            if members.settle(receipt.spend(), *id, disposition, now, &mut given_up) {
                Settled::Settled
            } else {
                Settled::Stale
            }
        };
        let answers = batch.into_iter().map(&mut settle).collect();
        if !given_up.is_empty() {
            // Still under the topic's lock, so that nobody sees the message neither here nor there.
            broker.bury(given_up, group_name, now);
        }
        drop(state);
        topic.wake.notify_waiters();
        answers
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        let Member { topic, group, id, .. } = &*self.member;
        lock(&topic.state).groups[*group].resize(*id, in_flight_max);
        topic.wake.notify_waiters();
    }

    async fn lag(&self) -> Result<Lag, Error> {
        let Member { broker, topic, group, .. } = &*self.member;
        Ok(lock(&topic.state).groups[*group].lag(&*broker.clock))
    }

    async fn close(&self) {
        let Member { topic, group, id, .. } = &*self.member;
        lock(&topic.state).groups[*group].close(*id);
        topic.wake.notify_waiters();
    }
}

/// Without what the topic holds: messages carry personal data.
impl fmt::Debug for MemorySubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Member { topic, group_name, .. } = &*self.member;
        let mut shown = f.debug_struct("MemorySubscription");
        shown.field("topic", &topic.name).field("group", group_name).finish_non_exhaustive()
    }
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        self.member.leave();
    }
}

impl Member {
    /// Leaves the group; what was not settled is ready again for the others.
    pub(super) fn leave(&self) {
        lock(&self.topic.state).groups[self.group].leave(self.id);
        self.topic.wake.notify_waiters();
    }

    fn deleted(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("topic {} was deleted", self.topic.name))
    }

    fn stopped(&self) -> Error {
        let (group, topic) = (&self.group_name, &self.topic.name);
        Error::new(
            ErrorKind::Stopped,
            format!("the subscription of group {group} to topic {topic} is closed"),
        )
    }
}

impl ReceiptHome for Member {
    fn dropped(&self, token: u64) {
        lock(&self.topic.state).groups[self.group].give_back(token, self.id);
        self.topic.wake.notify_waiters();
    }
}
