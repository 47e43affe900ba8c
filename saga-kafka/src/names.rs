//! What topics and groups are called on the brokers.

use saga_core::record::Topic;

/// A topic as Kafka knows it.
pub(crate) fn topic(prefix: &str, topic: &Topic) -> String {
    format!("{prefix}{topic}")
}

/// A group as Kafka knows it. The topic is part of its name, so that the members of one subscription share its partitions and nobody else is
/// rebalanced with them.
pub(crate) fn group(topic: &str, group: &str) -> String {
    format!("{topic}.{group}")
}

/// Where a group's messages wait for their retry; what reads them is a group of the same name.
pub(crate) fn retry(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.retry")
}

/// Where a group's dead letters are.
pub(crate) fn dead(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// The group whose offset says how far dead letters were redriven.
pub(crate) fn redrive(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.redrive")
}
