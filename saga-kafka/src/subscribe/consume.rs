//! The thread that polls. It never waits for anything but the client, so that the group keeps it for alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, TopicPartitionList};
use saga_core::adapter::{Arrived, Stage};
use saga_core::{Error, ErrorKind};

use super::rebalance::Assignments;
use super::{Handle, Reading};
use crate::connect;
use crate::error;
use crate::names;
use crate::settle::{Partition, now_ms};
use crate::wire::from_wire;

const POLL_MAX: Duration = Duration::from_millis(50);
/// How often it is written down how far the group is.
const COMMIT_EVERY: Duration = Duration::from_millis(150);
/// How many messages may wait here beside those that may be delivered, so that the consumer is rarely paused.
const READ_AHEAD: usize = 1_000;

/// How often retries are looked for while there are messages that come for the first time.
const LOOK_FOR_RETRIES_EVERY: Duration = Duration::from_millis(20);
/// How many retries are taken at a look.
const RETRIES_AT_ONCE: usize = 100;

/// Starts the thread.
pub(super) fn start(reading: &Arc<Reading>) -> Result<(), Error> {
    let consumers = Consumers::join(reading)?;
    let reading = Arc::clone(reading);
    let started =
        std::thread::Builder::new().name("saga-kafka".to_owned()).spawn(move || consume(reading, consumers));
    started
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Retry, "no thread can be started").with_source(error))
}

/// A consumer for each of the two topics, in a group of its own: in one group, the partitions of both would be shared out as one heap, and who
/// was there first was seen to be left with nothing but retries.
struct Consumers {
    fresh: BaseConsumer<Assignments>,
    retries: BaseConsumer<Assignments>,
}

impl Consumers {
    fn join(reading: &Arc<Reading>) -> Result<Self, Error> {
        Ok(Self { fresh: join(reading, false)?, retries: join(reading, true)? })
    }

    fn of(&self, is_retry: bool) -> &BaseConsumer<Assignments> {
        if is_retry { &self.retries } else { &self.fresh }
    }

    fn commit(&self, reading: &Reading, mode: CommitMode) {
        for is_retry in [false, true] {
            reading.commit(self.of(is_retry), is_retry, mode);
        }
    }

    /// Leaves both groups. What the others wait for is done before, so it need not be waited for if it takes long.
    fn leave(self) {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(self.retries));
            drop(self.fresh);
        });
    }
}

fn join(reading: &Arc<Reading>, is_retry: bool) -> Result<BaseConsumer<Assignments>, Error> {
    let Reading { link, topic, spec, .. } = &**reading;
    let read = reading.topic_of(is_retry);
    let settings = if is_retry {
        let mut settings = connect::consumer(&link.config, &read);
        // They are late anyhow.
        settings.set("fetch.wait.max.ms", "500");
        settings
    } else {
        connect::consumer(&link.config, &names::group(topic, &spec.group))
    };
    let settings = link.config.with_users_own(settings, |name| !connect::is_producers(name));
    let failed = |error: KafkaError| {
        error::of(error, format!("group {} of topic {} cannot be joined", spec.group, spec.topic))
    };
    let consumer = BaseConsumer::from_config_and_context(&settings, Assignments::new(reading, is_retry))
        .map_err(failed)?;
    consumer.subscribe(&[&read]).map_err(failed)?;
    Ok(consumer)
}

fn consume(reading: Arc<Reading>, consumers: Consumers) {
    let begun = Instant::now();
    let mut thread = Consuming { reading, paused: Paused::default(), committed_at: begun, looked_at: begun };
    while thread.reading.stages.now() < Stage::Leaving {
        let is_idle = !thread.poll(&consumers, false, POLL_MAX);
        if is_idle || thread.looked_at.elapsed() >= LOOK_FOR_RETRIES_EVERY {
            let _taken =
                (0..RETRIES_AT_ONCE).take_while(|_| thread.poll(&consumers, true, Duration::ZERO)).count();
            thread.looked_at = Instant::now();
        }
        thread.balance(&consumers);
        if thread.committed_at.elapsed() >= COMMIT_EVERY {
            consumers.commit(&thread.reading, CommitMode::Async);
            thread.committed_at = Instant::now();
        }
    }
    let reading = thread.reading;
    reading.deliveries.withdraw(|_| true);
    consumers.commit(&reading, CommitMode::Sync);
    reading.deliveries.revoke(|_| true);
    consumers.leave();
    reading.link.health.up(&reading.part());
    reading.stages.advance(Stage::Left);
}

struct Consuming {
    reading: Arc<Reading>,
    paused: Paused,
    committed_at: Instant,
    /// For retries.
    looked_at: Instant,
}

/// What is not read for now, because enough is here.
#[derive(Default)]
struct Paused {
    fresh: bool,
    retries: bool,
    /// Of the assignments that this is true for.
    epoch: u64,
}

impl Consuming {
    /// Takes one message; `false` when there is none.
    fn poll(&self, consumers: &Consumers, is_retry: bool, wait: Duration) -> bool {
        match consumers.of(is_retry).poll(wait) {
            None => return false,
            Some(Ok(message)) => self.arrived(is_retry, &message),
            Some(Err(error)) => self.failed(&error),
        }
        true
    }

    fn arrived(&self, is_retry: bool, arrived: &BorrowedMessage<'_>) {
        let Reading { spec, deliveries, link, .. } = &*self.reading;
        let partition = Partition { is_retry, number: arrived.partition() };
        let Some(epoch) = self.reading.tracker().delivered(partition, arrived.offset()) else { return };
        if link.health.up(&self.reading.part()) {
            deliveries.recovered();
        }
        let (message, own) = from_wire(&spec.topic, arrived);
        let handle = Handle { partition, epoch, offset: arrived.offset(), original: message.clone() };
        let arrived = Arrived { message, attempt: own.attempt.unwrap_or(1), handle };
        match own.not_before_ms.and_then(|due| due.checked_sub(now_ms())).filter(|wait| *wait > 0) {
            None => deliveries.arrived([arrived]),
            Some(wait) => {
                deliveries.arrived_early(arrived, tokio::time::Instant::now() + Duration::from_millis(wait))
            }
        }
    }

    /// `next` says so until messages come again.
    fn failed(&self, error: &KafkaError) {
        let reading = &self.reading;
        let kind = match error.rdkafka_error_code() {
            // What passes by itself shows in the health of the connection.
            Some(
                RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown,
            ) => return,
            _ => error::kind(error),
        };
        let message = format!("Kafka hands out no messages for {}: {error}", reading.part());
        if reading.link.health.down(&reading.part(), &message) {
            tracing::warn!(topic = %reading.spec.topic, group = %reading.spec.group, %error, "cannot read; trying on");
        }
        reading.deliveries.fail(kind, message);
    }

    /// Pauses what enough is here of, and goes on with what is wanted again.
    fn balance(&mut self, consumers: &Consumers) {
        let reading = Arc::clone(&self.reading);
        let waiting = reading.deliveries.waiting();
        let here = reading.deliveries.held() - waiting;
        let fresh_max = reading.deliveries.in_flight_max().saturating_add(READ_AHEAD);
        let retries_max = reading.link.config.retries_waiting_max;
        let fresh = is_full(here, fresh_max, self.paused.fresh);
        let retries = fresh || is_full(waiting, retries_max, self.paused.retries);
        // A partition that has come is not paused, whatever the others are.
        let epoch = reading.tracker().epoch();
        let is_new = std::mem::replace(&mut self.paused.epoch, epoch) != epoch;
        if is_new || fresh != self.paused.fresh {
            self.paused.fresh = self.switch(consumers, false, fresh);
        }
        if is_new || retries != self.paused.retries {
            self.paused.retries = self.switch(consumers, true, retries);
        }
    }

    /// Pauses or resumes; returns which of the two it is now.
    fn switch(&self, consumers: &Consumers, is_retry: bool, pause: bool) -> bool {
        let topic = self.reading.topic_of(is_retry);
        let mut list = TopicPartitionList::new();
        for partition in self.reading.tracker().assigned().filter(|partition| partition.is_retry == is_retry)
        {
            list.add_partition(&topic, partition.number);
        }
        let consumer = consumers.of(is_retry);
        let switched = if pause { consumer.pause(&list) } else { consumer.resume(&list) };
        match switched {
            Ok(()) => pause,
            Err(error) => {
                tracing::debug!(%error, pause, "the consumer does not pause or go on yet");
                !pause
            }
        }
    }
}

/// Full at the limit; not full again at half of it, since going on costs a fetch.
const fn is_full(count: usize, max: usize, was_full: bool) -> bool {
    if was_full { count > max / 2 } else { count >= max }
}
