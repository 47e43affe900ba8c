mod delivery;
mod faults;
mod limits;
mod order;
mod settling;
mod together;
mod topics;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::memory::MemoryBus;
use crate::ports::{
    BusAdmin, Declaration, Delivery, EventBus, Group, GroupStart, Published, Settled, Settlement,
    Subscription, SubscriptionSpec, TopicKind,
};
use crate::record::{Payload, Topic};
use crate::wire::Message;

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn message(topic_name: &str, text: &str) -> Message {
    Message::new(topic(topic_name), Payload::from(text.as_bytes().to_vec())).with_id(text)
}

fn messages(topic_name: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic_name, &n.to_string())).collect()
}

fn declaration(topic_name: &str, kind: TopicKind, groups: &[(&str, GroupStart)]) -> Declaration {
    let groups = groups.iter().map(|&(name, start)| Group { name: name.into(), start }).collect();
    Declaration { topic: topic(topic_name), kind, groups }
}

fn spec(topic_name: &str, group: &str) -> SubscriptionSpec {
    SubscriptionSpec { topic: topic(topic_name), group: group.into(), in_flight_max: 1_000, key_order: false }
}

/// A bus with a topic of commands `t` and its group `g`.
async fn with_commands(bus: MemoryBus) -> MemoryBus {
    bus.declare(&[declaration("t", TopicKind::Commands, &[("g", GroupStart::Earliest)])]).await.unwrap();
    bus
}

/// The same with a subscription.
async fn with_subscription(bus: MemoryBus) -> (MemoryBus, Arc<dyn Subscription>) {
    let bus = with_commands(bus).await;
    let subscription = bus.subscribe(spec("t", "g")).await.unwrap();
    (bus, subscription)
}

async fn publish(bus: &MemoryBus, batch: Vec<Message>) {
    for published in bus.publish(batch).await {
        assert!(matches!(published, Published::Acked), "{published:?}");
    }
}

async fn settle(subscription: &Arc<dyn Subscription>, settlements: impl IntoIterator<Item = Settlement>) {
    for settled in subscription.settle(settlements.into_iter().collect()).await {
        assert_eq!(settled, Settled::Settled);
    }
}

async fn settle_one(subscription: &Arc<dyn Subscription>, settlement: Settlement) -> Settled {
    subscription.settle(vec![settlement]).await[0]
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload.to_vec()).unwrap()
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(text).collect()
}

/// Their texts; the deliveries stay unsettled, since dropping them would bring them back.
fn held(deliveries: Vec<Delivery>) -> Vec<String> {
    let texts = texts(&deliveries);
    std::mem::forget(deliveries);
    texts
}

/// What is there now; nothing if it would have to wait.
async fn ready(subscription: &Arc<dyn Subscription>, max: usize) -> Vec<Delivery> {
    let mut next = subscription.next(max);
    match futures::poll!(&mut next) {
        Poll::Ready(batch) => batch.unwrap(),
        Poll::Pending => Vec::new(),
    }
}

/// Takes and acknowledges everything until nothing comes for longer than any delay of these tests.
async fn drain(subscription: &Arc<dyn Subscription>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(batch) = tokio::time::timeout(Duration::from_secs(60), subscription.next(100)).await {
        let batch = batch.unwrap();
        all.extend(texts(&batch));
        settle(subscription, batch.into_iter().map(Delivery::ack)).await;
    }
    all
}
