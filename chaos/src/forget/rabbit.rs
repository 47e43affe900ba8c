//! RabbitMQ purges queues: whatever waits in them is gone.

use lapin::options::QueuePurgeOptions;
use lapin::{Connection, ConnectionProperties};
use saga::ports::{BusAdmin, TopicKind};

use super::host_and_prefix;
use crate::Failure;

/// The waits in which the adapter keeps messages that are tried again, in ms.
const RETRIES: [u64; 6] = [600_000, 120_000, 30_000, 5_000, 1_000, 250];

/// Purges every queue that messages of this run wait in, and returns how many there were.
pub(super) async fn purge(admin: &dyn BusAdmin, bus: &str) -> Result<u64, Failure> {
    let (host, prefix) = host_and_prefix(bus)?;
    let mut queues = Vec::new();
    for topic in admin.topics().await? {
        let name = format!("{prefix}{topic}");
        let kind = admin.describe_topic(&topic).await?.spec.kind;
        for group in admin.groups(&topic).await? {
            let group = format!("{name}.{}", group.name);
            queues.extend(RETRIES.map(|ms| format!("{group}.retry.{ms}")));
            queues.extend((kind == TopicKind::Events).then_some(group));
        }
        queues.extend((kind == TopicKind::Commands).then_some(name));
    }
    let connection = Connection::connect(host, ConnectionProperties::default()).await?;
    let mut purged = 0;
    for queue in queues {
        // A refusal closes its channel.
        let channel = connection.create_channel().await?;
        let count = channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await;
        match count {
            Ok(count) => purged += u64::from(count),
            // Retries have their queues once there was one.
            Err(_) if queue.contains(".retry.") => continue,
            Err(error) => return Err(format!("{queue} cannot be purged: {error}").into()),
        }
        channel.close(200, "done".into()).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(purged)
}
