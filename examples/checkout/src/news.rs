//! Follows what the checkout announces, as any other service could.

use std::sync::Arc;
use std::time::Duration;

use saga::Error;
use saga::ports::{Declaration, EventBus, Group, GroupStart, Subscription, SubscriptionSpec, TopicKind};
use saga::record::Topic;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::checkout::{ORDER_COMPLETE, ROLLBACK_ORDER};
use crate::show::{Screen, Tone};

/// Shows every announcement.
pub(crate) struct News {
    shown: watch::Receiver<usize>,
}

impl News {
    /// Begins to follow. A topic of events goes whole to each group that reads it, so this one takes nothing from anybody.
    pub(crate) async fn follow(bus: &dyn EventBus, screen: &Screen) -> Result<Self, Error> {
        let (count, shown) = watch::channel(0);
        for topic in [ORDER_COMPLETE, ROLLBACK_ORDER] {
            let topic = Topic::new(topic).expect("it is a name");
            let group = Group { name: "checkout.news".into(), start: GroupStart::Latest };
            let declaration =
                Declaration { topic: topic.clone(), kind: TopicKind::Events, groups: vec![group.clone()] };
            bus.declare(&[declaration]).await?;
            let spec = SubscriptionSpec { topic, group: group.name, in_flight_max: 64, key_order: false };
            let subscription = bus.subscribe(spec).await?;
            tokio::spawn(show(subscription, screen.clone(), count.clone()));
        }
        Ok(Self { shown })
    }

    /// Waits a moment for the first announcement: it is published beside the order's end, not before it.
    pub(crate) async fn first(&mut self) {
        const WAIT_MAX: Duration = Duration::from_secs(2);
        let _shown_or_late = timeout(WAIT_MAX, self.shown.wait_for(|shown| *shown > 0)).await;
    }
}

async fn show(subscription: Arc<dyn Subscription>, screen: Screen, count: watch::Sender<usize>) {
    while let Ok(deliveries) = subscription.next(64).await {
        let mut settled = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let message = &delivery.message;
            let text = String::from_utf8_lossy(&message.payload);
            screen.happened(message.topic.as_str(), Tone::Plain, format_args!("announced {text}"));
            settled.push(delivery.ack());
            count.send_modify(|count| *count += 1);
        }
        subscription.settle(settled).await;
    }
}
