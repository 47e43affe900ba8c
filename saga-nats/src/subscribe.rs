//! Reading as a group: one task a subscription pulls what there is room for.

mod lease;
mod pull;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_trait::async_trait;
use saga_core::adapter::{Backoff, Deliveries, Stage, Stages};
use saga_core::ports::{Delivery, Lag, Settled, Settlement, Subscription, SubscriptionSpec};
use saga_core::{Error, ErrorKind};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::lease::Lease;
use self::pull::{End, Pull};
use crate::connect::Link;
use crate::settle;
use crate::topology;

/// A delivery at the server.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    /// Where its acknowledgement goes.
    pub(crate) reply: Subject,
    /// Its place in the topic's stream.
    pub(crate) sequence: u64,
    /// When the server last heard of it.
    pub(crate) heard: settle::Heard,
}

/// A subscription. Dropping it leaves the group.
pub(crate) struct NatsSubscription {
    reading: Arc<Reading>,
}

/// What a subscription and its task share.
pub(crate) struct Reading {
    pub(crate) link: Arc<Link>,
    pub(crate) spec: SubscriptionSpec,
    pub(crate) deliveries: Deliveries<Handle>,
    /// After how long without a word the server takes a delivery back, as it has it.
    pub(crate) ack_wait: Duration,
    stages: Stages,
}

impl NatsSubscription {
    pub(crate) async fn join(link: &Arc<Link>, spec: SubscriptionSpec) -> Result<Self, Error> {
        link.check_open()?;
        let (topic, group) = (&spec.topic, &spec.group);
        if spec.in_flight_max == 0 {
            let message =
                format!("group {group} of topic {topic}: in_flight_max is 0, so nothing could be delivered");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let consumer = topology::consumer(link, topic, group).await?;
        let reading = Arc::new(Reading {
            link: Arc::clone(link),
            deliveries: Deliveries::new(&spec),
            // It may have been created by somebody with another configuration.
            ack_wait: consumer.cached_info().config.ack_wait,
            spec,
            stages: Stages::default(),
        });
        link.remember(&reading);
        tokio::spawn(read(Arc::clone(&reading)));
        Ok(Self { reading })
    }
}

#[async_trait]
impl Subscription for NatsSubscription {
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
        let Reading { link, spec, deliveries, .. } = &*self.reading;
        let consumer = topology::consumer(link, &spec.topic, &spec.group).await?;
        let info = consumer.cached_info();
        let waiting_here = (deliveries.held() - deliveries.in_flight()) as u64;
        Ok(Lag {
            ready: info.num_pending + waiting_here,
            in_flight: (info.num_ack_pending as u64).saturating_sub(waiting_here),
            oldest_ready: None,
        })
    }

    async fn close(&self) {
        self.reading.close();
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        self.reading.leave();
    }
}

/// Without the messages: they carry personal data.
impl fmt::Debug for NatsSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.reading.spec;
        f.debug_struct("NatsSubscription")
            .field("topic", &spec.topic)
            .field("group", &spec.group)
            .finish_non_exhaustive()
    }
}

impl Reading {
    /// Delivers no more.
    pub(crate) fn close(&self) {
        self.stages.advance(Stage::Closed);
    }

    /// Gives back what is not settled.
    pub(crate) fn leave(&self) {
        self.stages.advance(Stage::Leaving);
    }

    /// Resolves once everything was given back.
    pub(crate) async fn left(&self) {
        self.stages.reached(Stage::Left).await;
    }

    fn is_closed(&self) -> bool {
        self.stages.now() >= Stage::Closed
    }

    /// How many more messages may be here.
    fn room(&self) -> usize {
        self.deliveries.in_flight_max().saturating_sub(self.deliveries.held())
    }

    /// What the health calls it.
    fn part(&self) -> String {
        format!("topic {} group {}", self.spec.topic, self.spec.group)
    }

    /// The server does not hand out messages; `next` says so until it does again.
    fn failed(&self, error: &Error) {
        if self.link.health.down(&self.part(), error) {
            tracing::warn!(topic = %self.spec.topic, group = %self.spec.group, %error, "cannot read; trying on");
        }
        self.deliveries.fail(error.kind(), error.to_string());
    }

    fn recovered(&self) {
        self.link.health.up(&self.part());
        self.deliveries.recovered();
    }
}

/// Reads until the subscription leaves.
async fn read(reading: Arc<Reading>) {
    tokio::select! {
        () = pull_until_closed(&reading) => {}
        () = prolong(&reading) => {}
    }
    settle::give_back(&reading, reading.deliveries.close()).await;
    tokio::select! {
        () = reading.stages.reached(Stage::Leaving) => {}
        () = prolong(&reading) => {}
    }
    let mut held = Vec::new();
    reading.deliveries.each(|handle| held.push(handle.clone()));
    reading.deliveries.revoke(|_| true);
    settle::give_back(&reading, held).await;
    reading.link.health.up(&reading.part());
    reading.stages.advance(Stage::Left);
}

async fn pull_until_closed(reading: &Arc<Reading>) {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);
    let mut backoff = Backoff::new(FIRST, MAX);
    while !reading.is_closed() {
        if let Err(error) = pull(reading, &mut backoff).await {
            reading.failed(&error);
            tokio::select! {
                () = reading.stages.reached(Stage::Closed) => {}
                () = sleep(backoff.wait()) => {}
            }
        }
    }
}

/// Pulls until the subscription is closed, the connection was made anew, the lease was lost, or something is wrong.
async fn pull(reading: &Arc<Reading>, backoff: &mut Backoff) -> Result<(), Error> {
    let beginning = async {
        let lease = match reading.spec.key_order {
            true => Some(Lease::acquire(reading).await?),
            false => None,
        };
        Ok::<_, Error>((lease, Pull::begin(reading).await?))
    };
    let (lease, mut pull) = tokio::select! {
        () = reading.stages.reached(Stage::Closed) => return Ok(()),
        begun = beginning => begun?,
    };
    reading.recovered();
    let end = tokio::select! {
        () = reading.stages.reached(Stage::Closed) => End::Again,
        end = pull_on(&mut pull, backoff) => end,
        end = lost(lease.as_ref()) => end,
    };
    pull.end().await;
    match end {
        End::Again => Ok(()),
        End::Failed(error) => Err(error),
    }
}

async fn pull_on(pull: &mut Pull, backoff: &mut Backoff) -> End {
    loop {
        if let Err(end) = pull.step().await {
            return end;
        }
        backoff.reset();
    }
}

/// Without a lease there is none to be lost.
async fn lost(lease: Option<&Lease>) -> End {
    match lease {
        Some(lease) => lease.lost().await,
        None => std::future::pending().await,
    }
}

/// Tells the server that what is held here is being worked on.
async fn prolong(reading: &Reading) {
    let mut tick = interval((reading.ack_wait / 3).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // What the server has taken back, others have, or will: a word for it now would be a word for their delivery.
        reading.deliveries.revoke(|handle| !handle.heard.is_within(reading.ack_wait));
        let mut held = Vec::new();
        reading.deliveries.each(|handle| held.push(handle.clone()));
        settle::prolong(reading, held).await;
    }
}
