//! One connection, and what the cases do with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use saga_core::Message;
use saga_core::ports::{
    BusAdmin, Declaration, Delivery, EventBus, Group, GroupStart, Published, Settled, Subscription,
    SubscriptionSpec, TopicKind,
};
use saga_core::record::Topic;
use tokio::time::{Instant, timeout, timeout_at};

use crate::check::{Check, Stop};
use crate::stand::Stand;

/// The group of topics that have one.
pub(crate) const GROUP: &str = "workers";
/// Within this time what was published arrives, on a machine that is busy with other cases.
pub(crate) const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// For this long nothing must come where nothing may.
pub(crate) const QUIET_FOR: Duration = Duration::from_millis(1_500);
/// Deliveries that may be unsettled at once, unless a case says otherwise.
pub(crate) const IN_FLIGHT_MAX: usize = 256;

/// A connection to the bus under test.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) admin: Arc<dyn BusAdmin>,
}

pub(crate) type Reader = Arc<dyn Subscription>;

impl Client {
    /// A new topic of commands with its group.
    pub(crate) async fn commands(&self, stand: &Stand) -> Check<Topic> {
        self.declared(stand, TopicKind::Commands, &[GROUP]).await
    }

    /// A new topic with groups from the earliest.
    pub(crate) async fn declared(&self, stand: &Stand, kind: TopicKind, groups: &[&str]) -> Check<Topic> {
        let topic = stand.topic();
        self.declare(&topic, kind, groups, GroupStart::Earliest).await?;
        Ok(topic)
    }

    pub(crate) async fn declare(
        &self,
        topic: &Topic,
        kind: TopicKind,
        groups: &[&str],
        start: GroupStart,
    ) -> Check {
        let groups = groups.iter().map(|name| Group { name: (*name).into(), start }).collect();
        Ok(self.bus.declare(&[Declaration { topic: topic.clone(), kind, groups }]).await?)
    }

    pub(crate) async fn read(&self, topic: &Topic) -> Check<Reader> {
        self.read_as(topic, GROUP, IN_FLIGHT_MAX, false).await
    }

    pub(crate) async fn read_in_order(&self, topic: &Topic) -> Check<Reader> {
        self.read_as(topic, GROUP, IN_FLIGHT_MAX, true).await
    }

    pub(crate) async fn read_as(
        &self,
        topic: &Topic,
        group: &str,
        in_flight_max: usize,
        key_order: bool,
    ) -> Check<Reader> {
        let spec = SubscriptionSpec { topic: topic.clone(), group: group.into(), in_flight_max, key_order };
        Ok(self.bus.subscribe(spec).await?)
    }

    /// Publishes; all of it must be taken.
    pub(crate) async fn publish(&self, batch: Vec<Message>) -> Check {
        let ids: Vec<_> = batch.iter().map(|message| message.id.clone()).collect();
        for (id, answer) in ids.iter().zip(self.bus.publish(batch).await) {
            ensure!(matches!(answer, Published::Acked), "message {id} was not published: {answer:?}");
        }
        Ok(())
    }

    /// Publishes and, as the contract asks, sends what is in doubt again with the same ids, in the order given.
    pub(crate) async fn publish_surely(&self, mut batch: Vec<Message>, within: Duration) -> Check {
        let deadline = Instant::now() + within;
        while !batch.is_empty() {
            let answers = self.bus.publish(batch.clone()).await;
            let mut answers = answers.into_iter();
            batch.retain(|_| !matches!(answers.next(), Some(Published::Acked)));
            ensure!(
                batch.is_empty() || Instant::now() < deadline,
                "{} messages are not published after {within:?}",
                batch.len()
            );
            if !batch.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Lets go of the connection without a word, as a crash would.
    pub(crate) fn abandon(self, readers: impl IntoIterator<Item = Reader>) {
        drop(readers.into_iter().collect::<Vec<_>>());
        drop(self);
    }

    pub(crate) async fn close(&self) -> Check {
        Ok(self.bus.close(Duration::from_secs(10)).await?)
    }
}

/// A message with this id, which is also its payload.
pub(crate) fn message(topic: &Topic, id: impl ToString) -> Message {
    let id = id.to_string();
    Message::new(topic.clone(), id.clone().into_bytes()).with_id(id)
}

pub(crate) fn messages(topic: &Topic, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, n)).collect()
}

pub(crate) fn id(delivery: &Delivery) -> String {
    delivery.message.id.as_str().to_owned()
}

/// Takes exactly so many deliveries, without settling them.
pub(crate) async fn take(reader: &Reader, count: usize) -> Check<Vec<Delivery>> {
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let mut taken = Vec::new();
    while taken.len() < count {
        match timeout_at(deadline, reader.next(count - taken.len())).await {
            Ok(batch) => taken.extend(batch?),
            Err(_) => {
                return Err(Stop::failed(format!(
                    "{} of {count} deliveries came in {ARRIVES_WITHIN:?}",
                    taken.len()
                )));
            }
        }
    }
    Ok(taken)
}

pub(crate) async fn take_one(reader: &Reader) -> Check<Delivery> {
    Ok(take(reader, 1).await?.remove(0))
}

/// Acknowledges; it must take effect.
pub(crate) async fn ack(reader: &Reader, batch: Vec<Delivery>) -> Check {
    let settlements = batch.into_iter().map(Delivery::ack).collect();
    let answers = reader.settle(settlements).await;
    ensure!(
        answers.iter().all(|answer| *answer == Settled::Settled),
        "an acknowledgement in time is {answers:?}"
    );
    Ok(())
}

/// Acknowledges what comes until these ids were seen, and returns how many came more than once. The error names what is missing.
pub(crate) async fn drain(
    reader: &Reader,
    wanted: impl IntoIterator<Item = String>,
    within: Duration,
) -> Check<usize> {
    let mut missing: BTreeSet<String> = wanted.into_iter().collect();
    let deadline = Instant::now() + within;
    let mut duplicates = 0;
    while !missing.is_empty() {
        let batch = match timeout_at(deadline, reader.next(IN_FLIGHT_MAX)).await {
            Ok(Ok(batch)) => batch,
            // The broker is away: the contract says that it may be called again.
            Ok(Err(error)) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let shown: Vec<_> = missing.iter().take(5).collect();
                return Err(Stop::failed(format!(
                    "{} messages did not come in {within:?}, as {shown:?}",
                    missing.len()
                )));
            }
        };
        duplicates += batch.iter().filter(|delivery| !missing.remove(delivery.message.id.as_str())).count();
        let settlements = batch.into_iter().map(Delivery::ack).collect();
        let _stale_ones_come_again = reader.settle(settlements).await;
    }
    Ok(duplicates)
}

pub(crate) fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| n.to_string())
}

/// Nothing must come.
pub(crate) async fn quiet(reader: &Reader) -> Check {
    match timeout(QUIET_FOR, reader.next(1)).await {
        Err(_) => Ok(()),
        Ok(Ok(batch)) => {
            let shown: Vec<_> = batch.iter().map(|delivery| (id(delivery), delivery.attempt)).collect();
            Err(Stop::failed(format!("deliveries came that must not: {shown:?}")))
        }
        Ok(Err(error)) => Err(error.into()),
    }
}
