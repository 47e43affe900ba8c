//! The weather between processes and servers: what becomes of messages on their way, and of calls to the log and the inbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use saga_core::ports::{Clock, EventBus, Published};
use saga_core::record::{MessageId, Topic};
use saga_core::wire::attributes;
use saga_core::{Error, ErrorKind, Message};
use tokio::time::{Instant, sleep};

use crate::bus::is_reply;
use crate::chance::{between, chance, happens};
use crate::coverage::Fault;
use crate::plan::{BusStorm, LogStorm};
use crate::world::{World, lock};

/// What is wrong with the servers at the moment.
#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) bus: Option<(BusStorm, Instant)>,
    pub(crate) log: Option<(LogStorm, Instant)>,
    pub(crate) inbox: Option<(u32, Instant)>,
    draws: u64,
    sent: BTreeMap<MessageId, u32>,
}

impl World {
    fn draw(weather: &mut Weather, seed: u64) -> Rng {
        weather.draws += 1;
        chance(seed, ("draw", weather.draws))
    }

    pub(crate) fn log_storm(&self) -> Option<(LogStorm, Rng)> {
        let mut weather = lock(&self.weather);
        let (storm, until) = weather.log?;
        (until > Instant::now()).then(|| (storm, Self::draw(&mut weather, self.plan.seed)))
    }

    pub(crate) fn inbox_storm(&self) -> Option<(u32, Rng)> {
        let mut weather = lock(&self.weather);
        let (per_mille, until) = weather.inbox?;
        (until > Instant::now()).then(|| (per_mille, Self::draw(&mut weather, self.plan.seed)))
    }

    /// Publishes, through the weather. What starts or cancels sagas is never lost: nobody would send it again.
    pub(crate) async fn send(self: &Arc<Self>, who: &str, batch: Vec<Message>) -> Vec<Published> {
        let mut answers = Vec::with_capacity(batch.len());
        for message in batch {
            answers.push(self.send_one(who, message).await);
        }
        answers
    }

    async fn send_one(self: &Arc<Self>, who: &str, message: Message) -> Published {
        if message.headers.get(attributes::TYPE) == Some("saga.announcement") {
            lock(&self.seen).announced.insert(message.id.clone());
        }
        let Some((storm, mut rng)) = self.bus_storm(&message.id) else {
            self.trace.say(who, || format!("publishes {} on {}", message.id, message.topic));
            return self.store_message(message).await;
        };
        let may_be_lost = message.headers.get(attributes::TYPE).is_some();
        let is_unknown = may_be_lost && happens(&mut rng, storm.unknown);
        let is_lost =
            may_be_lost && (is_unknown && rng.bool() || !is_unknown && happens(&mut rng, storm.lost));
        let copies = if is_lost { 0 } else { 1 + u32::from(happens(&mut rng, storm.doubled)) };
        self.trace.say(who, || {
            let unknown = if is_unknown { ", answered as unknown" } else { "" };
            format!("publishes {} on {}: {copies} copies{unknown}", message.id, message.topic)
        });
        for nth in 0..copies {
            let late_ms = u64::try_from(storm.late_max.as_millis()).unwrap_or(u64::MAX);
            let late = happens(&mut rng, storm.late).then(|| between(&mut rng, 1, late_ms.max(1)));
            self.count_copy(nth, late);
            match late {
                Some(late) => self.send_late(late, message.clone()),
                None => {
                    if let refused @ Published::Rejected(_) = self.store_message(message.clone()).await {
                        return refused;
                    }
                }
            }
        }
        if is_unknown {
            self.coverage.fault(if is_lost { Fault::LostUnknown } else { Fault::StoredUnknown });
            return Published::Unknown(Error::new(ErrorKind::Unknown, "no answer: simulated"));
        }
        if is_lost {
            self.coverage.fault(Fault::Lost);
        }
        Published::Acked
    }

    fn bus_storm(&self, id: &MessageId) -> Option<(BusStorm, Rng)> {
        let mut weather = lock(&self.weather);
        let (storm, until) = weather.bus?;
        let nth = weather.sent.entry(id.clone()).or_default();
        *nth += 1;
        let rng = chance(self.plan.seed, ("fate", id.as_str(), *nth));
        (until > Instant::now()).then_some((storm, rng))
    }

    fn count_copy(&self, nth: u32, late: Option<Duration>) {
        if nth > 0 {
            self.coverage.fault(Fault::Doubled);
        }
        let Some(late) = late else { return };
        self.coverage.fault(Fault::Late);
        if late > 10 * self.plan.setup.step_deadline {
            self.coverage.fault(Fault::VeryLate);
        }
    }

    fn send_late(self: &Arc<Self>, late: Duration, message: Message) {
        let world = Arc::clone(self);
        lock(&self.late).spawn(async move {
            sleep(late).await;
            world.store_message(message).await;
        });
    }

    async fn store_message(&self, message: Message) -> Published {
        let (id, is_reply) = (message.id.clone(), is_reply(&message));
        let published = self.bus.publish(vec![message]).await.remove(0);
        if matches!(published, Published::Acked) {
            let mut seen = lock(&self.seen);
            *seen.copies.entry(id.clone()).or_default() += 1;
            if is_reply {
                seen.unread.entry(id).or_insert_with(|| self.clock.now());
            }
        }
        published
    }

    /// Has messages come that nobody can read, on every kind of topic.
    pub(crate) async fn litter(self: &Arc<Self>, count: u32) {
        for topic in ["trip.placed", "order.replies", "notice.cancelled", "flight"] {
            for _ in 0..count {
                let topic = Topic::new(topic).expect("a topic's name");
                let nth = lock(&self.seen).litter.len();
                let id = MessageId::new(format!("garbage-{nth}"));
                let message = Message::new(topic.clone(), "{").with_id(id.as_str());
                // Before anybody has declared the topic it is refused.
                if let Published::Acked = self.send("nobody", vec![message]).await.remove(0) {
                    self.coverage.fault(Fault::Garbage);
                    lock(&self.seen).litter.push((topic, id));
                }
            }
        }
    }
}
