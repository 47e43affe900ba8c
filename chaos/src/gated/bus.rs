use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{
    Capabilities, Declaration, Delivery, Disposition, EventBus, Health, Lag, Published, Settled, Settlement,
    Subscription, SubscriptionSpec,
};
use saga::wire::attributes;
use saga::{Error, Message};

use super::{fatal, survive};
use crate::gate::die;

/// A bus, past the gate.
#[derive(Debug)]
pub(crate) struct GatedBus(pub(crate) Arc<dyn EventBus>);

#[derive(Debug)]
struct GatedSubscription(Arc<dyn Subscription>);

/// What a message is.
fn named(message: &Message) -> String {
    let header = |name| message.headers.get(name);
    let kind = header(attributes::TYPE).unwrap_or("message");
    let words =
        [Some(kind), header(attributes::ACTION), header(attributes::STEP), header(attributes::VERDICT)];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl EventBus for GatedBus {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        self.0.declare(declarations).await
    }

    async fn publish(&self, mut batch: Vec<Message>) -> Vec<Published> {
        let whats: Vec<_> = batch.iter().map(|message| format!("publishing a {}", named(message))).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            self.0.publish(batch).await;
            die();
        }
        let published = self.0.publish(batch).await;
        let is_done = |(_, published): &(_, &Published)| matches!(published, Published::Acked);
        survive(whats.iter().zip(&published).filter(is_done).map(|(what, _)| what));
        published
    }

    async fn publish_atomic(&self, batch: Vec<Message>) -> Published {
        self.0.publish_atomic(batch).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        Ok(Arc::new(GatedSubscription(self.0.subscribe(spec).await?)))
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.0.close(deadline).await
    }
}

#[async_trait]
impl Subscription for GatedSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.0.next(max).await
    }

    async fn settle(&self, mut batch: Vec<Settlement>) -> Vec<Settled> {
        let what = |settlement: &Settlement| {
            let how = match settlement.disposition {
                Disposition::Ack => "acknowledging",
                Disposition::Retry { .. } => "giving back",
                Disposition::DeadLetter { .. } => "burying",
            };
            format!("{how} a {}", named(&settlement.message))
        };
        let whats: Vec<_> = batch.iter().map(what).collect();
        if let Some(at) = fatal(&whats) {
            batch.truncate(at);
            self.0.settle(batch).await;
            die();
        }
        let settled = self.0.settle(batch).await;
        let is_done = |(_, settled): &(_, &Settled)| **settled == Settled::Settled;
        survive(whats.iter().zip(&settled).filter(is_done).map(|(what, _)| what));
        settled
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        self.0.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        self.0.lag().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
