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

/// Starts the thread.
pub(super) fn start(reading: &Arc<Reading>) -> Result<(), Error> {
    let Reading { link, topic, spec, .. } = &**reading;
    let group = names::group(topic, &spec.group);
    let settings = link
        .config
        .with_users_own(connect::consumer(&link.config, &group), |name| !connect::is_producers(name));
    let failed = |error: KafkaError| {
        error::of(error, format!("group {} of topic {} cannot be joined", spec.group, spec.topic))
    };
    let consumer =
        BaseConsumer::from_config_and_context(&settings, Assignments::new(reading)).map_err(failed)?;
    consumer.subscribe(&[topic, &names::retry(topic, &spec.group)]).map_err(failed)?;
    let reading = Arc::clone(reading);
    let started =
        std::thread::Builder::new().name("saga-kafka".to_owned()).spawn(move || consume(&reading, consumer));
    started
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Retry, "no thread can be started").with_source(error))
}

fn consume(reading: &Arc<Reading>, consumer: BaseConsumer<Assignments>) {
    let mut thread =
        Consuming { reading: Arc::clone(reading), paused: Paused::default(), committed_at: Instant::now() };
    while reading.stages.now() < Stage::Leaving {
        match consumer.poll(POLL_MAX) {
            None => {}
            Some(Ok(message)) => thread.arrived(&message),
            Some(Err(error)) => thread.failed(&error),
        }
        thread.balance(&consumer);
        if thread.committed_at.elapsed() >= COMMIT_EVERY {
            reading.commit(&consumer, CommitMode::Async);
            thread.committed_at = Instant::now();
        }
    }
    reading.deliveries.withdraw(|_| true);
    reading.commit(&consumer, CommitMode::Sync);
    reading.deliveries.revoke(|_| true);
    // Leaves the group. What the others wait for is done before, so it need not be waited for if it takes long.
    drop(consumer);
    reading.link.health.up(&reading.part());
    reading.stages.advance(Stage::Left);
}

struct Consuming {
    reading: Arc<Reading>,
    paused: Paused,
    committed_at: Instant,
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
    fn arrived(&self, arrived: &BorrowedMessage<'_>) {
        let Reading { spec, topic, deliveries, link, .. } = &*self.reading;
        let partition = Partition { is_retry: arrived.topic() != *topic, number: arrived.partition() };
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
    fn balance(&mut self, consumer: &BaseConsumer<Assignments>) {
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
            self.paused.fresh = self.switch(consumer, false, fresh);
        }
        if is_new || retries != self.paused.retries {
            self.paused.retries = self.switch(consumer, true, retries);
        }
    }

    /// Pauses or resumes; returns which of the two it is now.
    fn switch(&self, consumer: &BaseConsumer<Assignments>, is_retry: bool, pause: bool) -> bool {
        let mut list = TopicPartitionList::new();
        for partition in self.reading.tracker().assigned().filter(|partition| partition.is_retry == is_retry)
        {
            list.add_partition(&self.reading.topic_of(partition), partition.number);
        }
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
