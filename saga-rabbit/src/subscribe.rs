//! Reading as a group: one task a subscription, with a channel of its own.

mod session;
mod turn;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::ShortString;
use saga_core::adapter::{Backoff, Deliveries, Stage, Stages};
use saga_core::ports::{Delivery, Lag, Settled, Settlement, Subscription, SubscriptionSpec, TopicKind};
use saga_core::record::MessageId;
use saga_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::sleep;

use self::session::Session;
use crate::connect::Link;
use crate::names::{GroupName, TopicName};
use crate::publish::missing;
use crate::settle::{self, Desk};
use crate::topology;

/// A delivery at the server, with the message as it arrived.
pub(crate) struct Handle {
    /// Its number on its channel.
    pub(crate) tag: u64,
    /// Where it is settled: with the session that it came in.
    pub(crate) desk: Desk,
    pub(crate) id: MessageId,
    pub(crate) properties: BasicProperties,
    pub(crate) payload: Bytes,
}

/// A subscription. Dropping it leaves the group.
pub(crate) struct RabbitSubscription {
    reading: Arc<Reading>,
}

/// What a subscription and its task share.
pub(crate) struct Reading {
    pub(crate) link: Arc<Link>,
    pub(crate) spec: SubscriptionSpec,
    pub(crate) kind: TopicKind,
    pub(crate) name: GroupName,
    /// The queue that is read.
    pub(crate) queue: ShortString,
    pub(crate) deliveries: Deliveries<Handle>,
    in_flight_max: watch::Sender<usize>,
    stages: Stages,
    /// The tiers that are known to be there, in ms.
    tiers: Mutex<BTreeSet<u64>>,
}

impl RabbitSubscription {
    pub(crate) async fn join(link: &Arc<Link>, spec: SubscriptionSpec) -> Result<Self, Error> {
        link.check_open()?;
        let (topic, group) = (&spec.topic, &spec.group);
        if spec.in_flight_max == 0 {
            let message =
                format!("group {group} of topic {topic}: in_flight_max is 0, so nothing could be delivered");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let (kind, queue) = topology::group_queue(link, topic, group).await?;
        let reading = Arc::new(Reading {
            link: Arc::clone(link),
            kind,
            name: TopicName::new(&link.config.prefix, topic)?.group(topic, group)?,
            queue,
            deliveries: Deliveries::new(&spec),
            in_flight_max: watch::Sender::new(spec.in_flight_max),
            spec,
            stages: Stages::default(),
            tiers: Mutex::default(),
        });
        link.remember(&reading);
        tokio::spawn(read(Arc::clone(&reading)));
        Ok(Self { reading })
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.reading.deliveries.next(max).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        settle::settle(&self.reading, batch).await
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        self.reading.in_flight_max.send_replace(in_flight_max);
        self.reading.deliveries.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        let Reading { link, spec, deliveries, queue, .. } = &*self.reading;
        let stat = topology::stat(link, queue.clone()).await?.ok_or_else(|| missing(&spec.topic))?;
        let in_flight = deliveries.in_flight();
        let waiting_here = deliveries.held().saturating_sub(in_flight + deliveries.waiting());
        Ok(Lag { ready: stat.ready + waiting_here as u64, in_flight: in_flight as u64, oldest_ready: None })
    }

    async fn close(&self) {
        self.reading.close();
    }
}

impl Drop for RabbitSubscription {
    fn drop(&mut self) {
        self.reading.leave();
    }
}

/// Without the messages: they carry personal data.
impl fmt::Debug for RabbitSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = &self.reading.spec;
        f.debug_struct("RabbitSubscription")
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

    /// Whether the tier is known to be there.
    pub(crate) fn has_tier(&self, tier_ms: u64) -> bool {
        self.tiers.lock().unwrap_or_else(PoisonError::into_inner).contains(&tier_ms)
    }

    /// A tier is there, or is not.
    pub(crate) fn found_tier(&self, tier_ms: u64, is_there: bool) {
        let mut tiers = self.tiers.lock().unwrap_or_else(PoisonError::into_inner);
        if is_there {
            tiers.insert(tier_ms);
        } else {
            tiers.remove(&tier_ms);
        }
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

/// Reads until the subscription leaves, in one session after the other as channels break.
async fn read(reading: Arc<Reading>) {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);
    let mut backoff = Backoff::new(FIRST, MAX);
    while reading.stages.now() < Stage::Leaving {
        let ended = read_once(&reading, &mut backoff).await;
        // With its channel, the server has taken all of it back.
        reading.deliveries.revoke(|_| true);
        if let Err(error) = ended {
            reading.failed(&error);
            tokio::select! {
                () = reading.stages.reached(Stage::Leaving) => {}
                () = sleep(backoff.wait()) => {}
            }
        }
    }
    drop(reading.deliveries.close());
    reading.deliveries.revoke(|_| true);
    reading.link.health.up(&reading.part());
    reading.stages.advance(Stage::Left);
}

/// Reads until the subscription leaves or the channel breaks.
async fn read_once(reading: &Arc<Reading>, backoff: &mut Backoff) -> Result<(), Error> {
    if reading.link.consuming.up().is_none() {
        let message = format!("{} cannot be read: the connection to RabbitMQ is lost", reading.part());
        reading.failed(&Error::new(ErrorKind::Retry, message));
    }
    let begun = tokio::select! {
        begun = Session::begin(reading) => Some(begun?),
        () = reading.stages.reached(Stage::Closed) => None,
    };
    let Some(mut session) = begun else {
        drop(reading.deliveries.close());
        reading.stages.reached(Stage::Leaving).await;
        return Ok(());
    };
    reading.recovered();
    backoff.reset();
    let ended = session.serve().await;
    session.end().await;
    ended
}
