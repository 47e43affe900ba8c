//! Partitions come and go. All of this runs on the consumer's own thread, inside its polling.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientContext, TopicPartitionList};

use super::Reading;
use crate::settle::Partition;

/// What the consumer tells of its partitions.
pub(super) struct Assignments {
    reading: Weak<Reading>,
    /// Whether it reads the retries.
    is_retry: bool,
}

impl Assignments {
    pub(super) fn new(reading: &Arc<Reading>, is_retry: bool) -> Self {
        Self { reading: Arc::downgrade(reading), is_retry }
    }

    fn partition(&self, element: &TopicPartitionListElem<'_>) -> Partition {
        Partition { is_retry: self.is_retry, number: element.partition() }
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka consumer reports an error");
    }

    fn log(&self, level: RDKafkaLogLevel, part: &str, message: &str) {
        crate::watching::log(level, part, message);
    }
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Some(reading) = self.reading.upgrade() else { return };
        match rebalance {
            Rebalance::Assign(list) => {
                let mut tracker = reading.tracker();
                list.elements().iter().for_each(|element| tracker.assign(self.partition(element)));
            }
            Rebalance::Revoke(list) => {
                let revoked: Vec<_> = list.elements().iter().map(|element| self.partition(element)).collect();
                reading.revoked(consumer, &revoked, self.is_retry);
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "the group could not share its partitions out; it tries again")
            }
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        if let (Err(error), Some(reading)) = (result, self.reading.upgrade()) {
            tracing::debug!(%error, "offsets are not committed yet");
            reading.tracker().not_committed();
        }
    }
}

impl Reading {
    /// Others will read these partitions: what is not delivered is forgotten, what is gets a little time to be settled, and then the
    /// place is written down.
    fn revoked(&self, consumer: &BaseConsumer<Assignments>, revoked: &[Partition], is_retry: bool) {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        let is_revoked = |partition: &Partition| revoked.contains(partition);
        self.deliveries.withdraw(|handle| is_revoked(&handle.partition));
        if !consumer.assignment_lost() {
            let begun = Instant::now();
            let limit = Duration::from_millis(self.link.config.revoke_drain_ms);
            while self.holds(revoked) && begun.elapsed() < limit {
                std::thread::sleep(LOOK_EVERY);
            }
            self.commit(consumer, is_retry, CommitMode::Sync);
        }
        self.deliveries.revoke(|handle| is_revoked(&handle.partition));
        let mut tracker = self.tracker();
        revoked.iter().for_each(|partition| tracker.revoke(*partition));
    }

    fn holds(&self, partitions: &[Partition]) -> bool {
        let mut holds = false;
        self.deliveries.each(|handle| holds |= partitions.contains(&handle.partition));
        holds
    }

    /// Writes down how far the group of one of the two topics is.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Assignments>, is_retry: bool, mode: CommitMode) {
        let commits = self.tracker().take_commits(is_retry);
        if commits.is_empty() {
            return;
        }
        let topic = self.topic_of(is_retry);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in commits {
            // A partition stands in the list once, so this cannot fail.
            let _added = list.add_partition_offset(&topic, partition.number, rdkafka::Offset::Offset(offset));
        }
        if let Err(error) = consumer.commit(&list, mode) {
            tracing::debug!(%error, topic = %self.spec.topic, "offsets are not committed yet");
            self.tracker().not_committed();
        }
    }

    pub(super) fn topic_of(&self, is_retry: bool) -> String {
        if is_retry { crate::names::retry(&self.topic, &self.spec.group) } else { self.topic.clone() }
    }
}
