//! The yardstick: the brokers' own clients, used as well as they can be, with the settings and the kind of topics that the adapters have.

mod kafka;
mod nats;
mod rabbit;
mod workload;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::kafka::Kafka;
pub(crate) use self::nats::Nats;
pub(crate) use self::rabbit::Rabbit;
pub(crate) use self::workload::Workload;

/// How many messages that have come together are handed out at once.
const TOGETHER_MAX: usize = 512;

/// A message to be sent.
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    /// What belongs together; where a broker has partitions, it says which.
    pub(crate) key: u64,
    pub(crate) payload: Bytes,
}

/// A broker's own client. What goes wrong ends the benchmark. Without encryption.
pub(crate) trait Raw: Sized + Send + Sync + 'static {
    type Reader: Reader;

    fn open(url: &str) -> impl Future<Output = Self> + Send;

    /// How durable what the broker acknowledges is.
    fn promise(&self) -> String;

    /// Creates a durable topic with a group, as the adapter would for commands.
    fn create(&self, topic: &str) -> impl Future<Output = ()> + Send;

    fn delete(&self, topic: &str) -> impl Future<Output = ()> + Send;

    /// Sends all without waiting in between, and resolves once the broker has acknowledged each.
    fn publish(&self, batch: Vec<Outgoing>) -> impl Future<Output = ()> + Send + use<Self>;

    /// Reads a topic as its group, with at most so many unsettled where the broker counts them.
    fn read(&self, topic: &str, unsettled_max: u16) -> impl Future<Output = Self::Reader> + Send;
}

/// Reads a topic.
pub(crate) trait Reader: Send + 'static {
    type Receipt: Send;

    /// What is there, at least one. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Vec<(Bytes, Self::Receipt)>> + Send;

    /// Settles all of a batch. Batches are settled whole, in the order in which they came.
    fn ack(&mut self, batch: Vec<Self::Receipt>) -> impl Future<Output = ()> + Send;
}

/// The URL without what only the adapter reads.
fn plain(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}
