//! Reading as a group: a thread for each subscription owns its consumer.

mod consume;
mod rebalance;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use saga_core::adapter::{Deliveries, Stage, Stages};
use saga_core::ports::{Delivery, Lag, Settled, Settlement, Subscription, SubscriptionSpec};
use saga_core::{Error, ErrorKind, Message};

use crate::connect::Link;
use crate::names;
use crate::settle::{self, Partition, Tracker};
use crate::topology;

/// A delivery on the brokers.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) partition: Partition,
    /// Of which assignment of the partition.
    pub(crate) epoch: u64,
    pub(crate) offset: i64,
    /// As it was read: what the user does to the delivered one is not copied.
    pub(crate) original: Message,
}

/// A subscription. Dropping it leaves the group.
pub(crate) struct KafkaSubscription {
    reading: Arc<Reading>,
}

/// What a subscription and its thread share.
pub(crate) struct Reading {
    pub(crate) link: Arc<Link>,
    pub(crate) spec: SubscriptionSpec,
    /// As Kafka knows it.
    pub(crate) topic: String,
    pub(crate) deliveries: Deliveries<Handle>,
    tracker: Mutex<Tracker>,
    stages: Stages,
}

impl KafkaSubscription {
    pub(crate) async fn join(link: &Arc<Link>, spec: SubscriptionSpec) -> Result<Self, Error> {
        link.check_open()?;
        let (topic, group) = (&spec.topic, &spec.group);
        if spec.in_flight_max == 0 {
            let message =
                format!("group {group} of topic {topic}: in_flight_max is 0, so nothing could be delivered");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let name = names::topic(&link.config.prefix, topic);
        for needed in [name.clone(), names::retry(&name, group)] {
            if topology::partitions(link, &needed).await?.is_none() {
                let message =
                    format!("topic {topic} or its group {group} is not there: declare it before subscribing");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        }
        let reading = Arc::new(Reading {
            link: Arc::clone(link),
            topic: name,
            deliveries: Deliveries::new(&spec),
            tracker: Mutex::default(),
            spec,
            stages: Stages::default(),
        });
        consume::start(&reading)?;
        link.remember(&reading);
        Ok(Self { reading })
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.reading.deliveries.next(max).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        settle::settle(&self.reading, batch).await
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        self.reading.deliveries.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        let Reading { link, spec, topic, deliveries, .. } = &*self.reading;
        let marks = topology::watermarks(link, topic).await?;
        let committed = topology::committed(link, topic, &names::group(topic, &spec.group)).await?;
        let mut ready = 0;
        for (number, ((first, end), committed)) in (0..).zip(marks.into_iter().zip(committed)) {
            let read = self.reading.tracker().next(Partition { is_retry: false, number });
            ready += end - read.or(committed).unwrap_or(first).clamp(first, end);
        }
        let here = deliveries.held() - deliveries.in_flight() - deliveries.waiting();
        let ready = u64::try_from(ready).unwrap_or_default() + here as u64;
        Ok(Lag { ready, in_flight: deliveries.in_flight() as u64, oldest_ready: None })
    }

    async fn close(&self) {
        self.reading.close();
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.reading.leave();
    }
}

/// Without the messages: they carry personal data.
impl fmt::Debug for KafkaSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.reading.spec;
        f.debug_struct("KafkaSubscription")
            .field("topic", &spec.topic)
            .field("group", &spec.group)
            .finish_non_exhaustive()
    }
}

impl Reading {
    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers no more.
    pub(crate) fn close(&self) {
        self.stages.advance(Stage::Closed);
        self.deliveries.close();
    }

    /// Leaves the group.
    pub(crate) fn leave(&self) {
        self.stages.advance(Stage::Leaving);
        self.deliveries.close();
    }

    /// Resolves once the group is left.
    pub(crate) async fn left(&self) {
        self.stages.reached(Stage::Left).await;
    }

    /// What the health calls it.
    fn part(&self) -> String {
        format!("topic {} group {}", self.spec.topic, self.spec.group)
    }
}
