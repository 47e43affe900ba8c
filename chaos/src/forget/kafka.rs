//! Kafka deletes the records of a topic up to its end: whoever had not read so far finds its place gone.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::host_and_prefix;
use crate::Failure;

const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Truncates every topic of this run, those for retries included.
pub(super) async fn truncate(bus: &str) -> Result<(), Failure> {
    let (host, prefix) = host_and_prefix(bus)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", host.trim_start_matches("kafka://"));
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let (admin, all) = tokio::task::spawn_blocking({
        let prefix = prefix.to_owned();
        move || {
            let metadata = admin.inner().fetch_metadata(None, ANSWER_MAX)?;
            let mut all = TopicPartitionList::new();
            for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with(&prefix)) {
                for partition in topic.partitions() {
                    all.add_partition_offset(topic.name(), partition.id(), Offset::End)?;
                }
            }
            Ok::<_, rdkafka::error::KafkaError>((admin, all))
        }
    })
    .await??;
    let deleted = admin.delete_records(&all, &AdminOptions::new().request_timeout(Some(ANSWER_MAX))).await?;
    deleted.elements().iter().try_for_each(|element| Ok(element.error()?))
}
