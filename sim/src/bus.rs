//! The in-memory bus as a process reaches it: through its gate, and through the weather.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::{
    Capabilities, Declaration, Delivery, Disposition, EventBus, Health, Lag, Published, Receipt, ReceiptHome,
    Settled, Settlement, Subscription, SubscriptionSpec,
};
use saga_core::wire::attributes;
use saga_core::{Error, ErrorKind, Message};
use tokio::time::{sleep, sleep_until};

use crate::acknowledged;
use crate::coverage::Fault;
use crate::mutants::Mutant;
use crate::process::{Edge, Port, Process};
use crate::world::lock;

/// A process's connection to the bus.
#[derive(Debug)]
pub(crate) struct SimBus {
    pub(crate) process: Arc<Process>,
}

/// How long a client waits before it gives a broker up.
const AWAY: Duration = Duration::from_millis(700);

#[async_trait]
impl EventBus for SimBus {
    fn capabilities(&self) -> Capabilities {
        self.process.world.bus.capabilities()
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        let process = &self.process;
        process.pass(Port::Declare, Edge::Before).await;
        check(process, Port::Declare).await?;
        let declared = process.world.bus.declare(declarations).await;
        process.pass(Port::Declare, Edge::After).await;
        declared
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        let process = &self.process;
        process.pass(Port::Publish, Edge::Before).await;
        if check(process, Port::Publish).await.is_err() {
            return batch.iter().map(|_| Published::Unknown(away())).collect();
        }
        let batch = batch.into_iter().map(|message| mutated(process, message)).collect();
        let published = process.world.send(&process.name, batch).await;
        process.pass(Port::Publish, Edge::After).await;
        published
    }

    async fn publish_atomic(&self, _batch: Vec<Message>) -> Published {
        unreachable!("the shells do not publish atomically")
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        let process = &self.process;
        process.pass(Port::Declare, Edge::Before).await;
        check(process, Port::Declare).await?;
        let inner = process.world.bus.subscribe(spec.clone()).await?;
        let joined = Mutex::new(Joined { inner, rejoins: process.rejoins().0, is_closed: false });
        process.pass(Port::Declare, Edge::After).await;
        Ok(Arc::new(SimSubscription { process: Arc::clone(process), spec, joined }))
    }

    fn health(&self) -> Health {
        self.process.world.bus.health()
    }

    async fn close(&self, _deadline: Duration) -> Result<(), Error> {
        Ok(())
    }
}

/// Waits, and fails, while the process does not reach the port's server.
pub(crate) async fn check(process: &Process, port: Port) -> Result<(), Error> {
    if process.cut_until(port).is_none() {
        return Ok(());
    }
    let fault = match port {
        Port::Append | Port::Load | Port::Lease | Port::Wake => Fault::CutFromLog,
        Port::Claim | Port::Complete => Fault::CutFromInbox,
        _ => Fault::CutFromBus,
    };
    process.world.coverage.fault(fault);
    sleep(AWAY).await;
    Err(away())
}

pub(crate) fn away() -> Error {
    Error::new(ErrorKind::Retry, "it cannot be reached: simulated")
}

fn mutated(process: &Process, mut message: Message) -> Message {
    let mut set = |name: &str, value: &str| {
        message.headers = message.headers.without(&[name]).with([(name, value)]);
    };
    match process.world.mutant {
        Some(Mutant::RoundNotCarried) => set(attributes::ROUND, "1"),
        Some(Mutant::FailedTakenForRejected)
            if message.headers.get(attributes::VERDICT) == Some("failed") && is_reply(&message) =>
        {
            message.headers =
                message.headers.without(&[attributes::VERDICT]).with([(attributes::VERDICT, "rejected")]);
        }
        _ => {}
    }
    message
}

pub(crate) fn is_reply(message: &Message) -> bool {
    message.headers.get(attributes::TYPE) == Some("saga.reply")
}

#[derive(Debug)]
struct SimSubscription {
    process: Arc<Process>,
    spec: SubscriptionSpec,
    joined: Mutex<Joined>,
}

#[derive(Debug)]
struct Joined {
    inner: Arc<dyn Subscription>,
    rejoins: u64,
    is_closed: bool,
}

impl SimSubscription {
    /// The membership that counts now. The one before is left, if the process had to join anew.
    async fn inner(&self) -> Result<Arc<dyn Subscription>, Error> {
        let rejoins = self.process.rejoins().0;
        if lock(&self.joined).rejoins != rejoins {
            let inner = self.process.world.bus.subscribe(self.spec.clone()).await?;
            let mut joined = lock(&self.joined);
            (joined.inner, joined.rejoins) = (inner, rejoins);
            self.process.world.coverage.fault(Fault::Rejoined);
        }
        let (inner, is_closed) = {
            let joined = lock(&self.joined);
            (Arc::clone(&joined.inner), joined.is_closed)
        };
        if is_closed {
            inner.close().await;
        }
        Ok(inner)
    }

    async fn settle_with(&self, inner: &dyn Subscription, batch: Vec<Settlement>) -> Vec<Settled> {
        let (world, who) = (&self.process.world, &self.process.name);
        let seen: Vec<_> = batch.iter().map(|it| (it.message.clone(), it.disposition.clone())).collect();
        let settled = inner.settle(batch).await;
        for ((message, disposition), settled) in seen.iter().zip(&settled) {
            world.trace.say(who, || format!("settles {} {}: {settled:?}", message.id, shown(disposition)));
            let is_gone = *settled == Settled::Settled && !matches!(disposition, Disposition::Retry { .. });
            let is_last = is_gone && world.copy_is_gone(&message.id);
            match disposition {
                Disposition::DeadLetter { reason } => world.buried(message, reason),
                Disposition::Ack if self.process.slot < world.plan.setup.coordinators => {
                    acknowledged::by_coordinator(world, message);
                }
                // Whoever has another copy goes on with it.
                Disposition::Ack if is_last => acknowledged::by_participant(world, message),
                Disposition::Ack | Disposition::Retry { .. } => {}
            }
        }
        settled
    }

    /// What an admission limit that gated replies would do.
    async fn wait_for_room(&self) {
        let world = &self.process.world;
        if world.mutant == Some(Mutant::AdmissionGatesReplies)
            && self.spec.topic.as_str().ends_with(".replies")
        {
            while world.unfinished() > world.plan.setup.sagas_in_flight_max {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn received(&self, deliveries: Vec<Delivery>) -> (Vec<Delivery>, Vec<Settlement>) {
        let world = &self.process.world;
        for delivery in &deliveries {
            world.delivered(&self.process.name, &delivery.message, delivery.attempt);
        }
        let is_coordinator = self.process.slot < world.plan.setup.coordinators;
        let early = match world.mutant {
            Some(Mutant::AcknowledgeBeforeAppend) => is_coordinator,
            Some(Mutant::AcknowledgeBeforeVerdict) => !is_coordinator,
            _ => false,
        };
        if !early {
            return (deliveries, Vec::new());
        }
        let again = |delivery: &Delivery| {
            let receipt = Receipt::new(u64::MAX, Arc::new(Nowhere) as Arc<dyn ReceiptHome>);
            Delivery::new(delivery.message.clone(), delivery.attempt, receipt)
        };
        let copies = deliveries.iter().map(again).collect();
        (copies, deliveries.into_iter().map(Delivery::ack).collect())
    }
}

/// Where receipts of what is settled already go.
struct Nowhere;

impl ReceiptHome for Nowhere {
    fn dropped(&self, _token: u64) {}
}

#[async_trait]
impl Subscription for SimSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        let process = &self.process;
        process.pass(Port::Next, Edge::Before).await;
        self.wait_for_room().await;
        let received = loop {
            if let Some(until) = process.cut_until(Port::Next) {
                process.world.coverage.fault(Fault::CutFromBus);
                // Some clients say so, others wait.
                if process.life.is_multiple_of(2) {
                    sleep(AWAY).await;
                    return Err(away());
                }
                sleep_until(until).await;
                continue;
            }
            let (_, rejoin) = process.rejoins();
            let rejoined = rejoin.notified();
            let inner = self.inner().await?;
            let received = tokio::select! {
                biased;
                () = rejoined => continue,
                received = inner.next(max) => received?,
            };
            let (received, acknowledged) = self.received(received);
            if !acknowledged.is_empty() {
                self.settle_with(&*inner, acknowledged).await;
            }
            break received;
        };
        process.pass(Port::Next, Edge::After).await;
        Ok(received)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        let process = &self.process;
        process.pass(Port::Settle, Edge::Before).await;
        if check(process, Port::Settle).await.is_err() {
            return batch.iter().map(|_| Settled::Stale).collect();
        }
        let Ok(inner) = self.inner().await else { return batch.iter().map(|_| Settled::Stale).collect() };
        let settled = self.settle_with(&*inner, batch).await;
        process.pass(Port::Settle, Edge::After).await;
        settled
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        lock(&self.joined).inner.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        let process = &self.process;
        process.pass(Port::Lag, Edge::Before).await;
        if process.world.mutant == Some(Mutant::DeadlineOverUnread) {
            return Ok(Lag::default());
        }
        check(process, Port::Lag).await?;
        let lag = self.inner().await?.lag().await;
        process.pass(Port::Lag, Edge::After).await;
        lag
    }

    async fn close(&self) {
        let inner = {
            let mut joined = lock(&self.joined);
            joined.is_closed = true;
            Arc::clone(&joined.inner)
        };
        inner.close().await;
    }
}

fn shown(disposition: &Disposition) -> String {
    match disposition {
        Disposition::Ack => "done".to_owned(),
        Disposition::Retry { after } => format!("again in {} ms", after.as_millis()),
        Disposition::DeadLetter { reason } => format!("dead: {reason}"),
    }
}
