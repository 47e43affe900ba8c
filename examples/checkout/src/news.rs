//! Follows what the checkout announces, as any other service could.

use saga::Error;
use saga::ports::{Declaration, EventBus, Group, GroupStart, SubscriptionSpec, TopicKind};
use saga::record::Topic;

use crate::shop::{ORDER_COMPLETE, ROLLBACK_ORDER};
use crate::show::{Screen, Tone};

/// Shows every announcement. A topic of events goes whole to each group that reads it, so this one takes nothing from anybody.
pub(crate) async fn follow(bus: &dyn EventBus, screen: &Screen) -> Result<(), Error> {
    for topic in [ORDER_COMPLETE, ROLLBACK_ORDER] {
        let topic = Topic::new(topic).expect("it is a name");
        let group = Group { name: "checkout.news".into(), start: GroupStart::Latest };
        let declaration =
            Declaration { topic: topic.clone(), kind: TopicKind::Events, groups: vec![group.clone()] };
        bus.declare(&[declaration]).await?;
        let spec = SubscriptionSpec { topic, group: group.name, in_flight_max: 64, key_order: false };
        let subscription = bus.subscribe(spec).await?;
        let screen = screen.clone();
        tokio::spawn(async move {
            while let Ok(deliveries) = subscription.next(64).await {
                let mut settled = Vec::with_capacity(deliveries.len());
                for delivery in deliveries {
                    let message = &delivery.message;
                    let text = String::from_utf8_lossy(&message.payload);
                    screen.happened(message.topic.as_str(), Tone::Plain, format_args!("announced {text}"));
                    settled.push(delivery.ack());
                }
                subscription.settle(settled).await;
            }
        });
    }
    Ok(())
}
