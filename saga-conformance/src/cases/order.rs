//! Order per key, where a subscription asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use saga_core::Message;
use saga_core::adapter::{murmur2, partition_of};
use saga_core::ports::{Delivery, PeekFrom, Published, TopicKind, TopicSpec};
use saga_core::record::Topic;
use tokio::time::{Instant, timeout};

use crate::check::{Check, Stop};
use crate::client::{ARRIVES_WITHIN, Client, GROUP, Reader, take_one};
use crate::proxy::Weather;
use crate::stand::Stand;

const KEYS: usize = 16;
const OF_EACH: usize = 20;
/// How long it may take until one reader follows another, as after a lease or a rebalance.
const HANDOVER_MAX: Duration = Duration::from_secs(30);

/// 25: with one consumer, messages of a key come in the order they were published.
pub async fn one_consumer(stand: &Stand) -> Check {
    let (client, topic) = ordered(stand).await?;
    let reader = client.read_in_order(&topic).await?;
    client.publish(keyed(&topic)).await?;
    let mut seen = Seen::default();
    seen.read(&[&reader], ARRIVES_WITHIN).await?;
    client.close().await
}

/// 26: with several consumers of a group, too.
pub async fn several_consumers(stand: &Stand) -> Check {
    let (client, topic) = ordered(stand).await?;
    let (two, three) = (stand.connect().await?, stand.connect().await?);
    let readers = [
        client.read_in_order(&topic).await?,
        two.read_in_order(&topic).await?,
        three.read_in_order(&topic).await?,
    ];
    client.publish(keyed(&topic)).await?;
    let mut seen = Seen::default();
    seen.read(&[&readers[0], &readers[1], &readers[2]], ARRIVES_WITHIN + HANDOVER_MAX).await?;
    for client in [client, two, three] {
        client.close().await?;
    }
    Ok(())
}

/// 27: when a consumer leaves politely and another goes on, too.
pub async fn rebalance(stand: &Stand) -> Check {
    let (client, topic) = ordered(stand).await?;
    client.publish(keyed(&topic)).await?;
    let mut seen = Seen::default();
    let first = client.read_in_order(&topic).await?;
    while seen.count < KEYS * OF_EACH / 3 {
        seen.read_once(&first).await?;
    }
    let next = stand.connect().await?;
    let second = next.read_in_order(&topic).await?;
    seen.read_once(&first).await?;
    first.close().await;
    drop(first);
    seen.read(&[&second], ARRIVES_WITHIN + HANDOVER_MAX).await?;
    client.close().await?;
    next.close().await
}

/// 28: a retry waits in place: nothing else of its key comes before it.
pub async fn retry_in_place(stand: &Stand) -> Check {
    let (client, topic) = ordered(stand).await?;
    let reader = client.read_in_order(&topic).await?;
    let batch = (0..5).map(|n| numbered(&topic, 0, n)).collect();
    client.publish(batch).await?;
    let first = take_one(&reader).await?;
    reader.settle(vec![first.retry(Duration::from_secs(1))]).await;
    let mut seen = Seen::default();
    while seen.count < 5 {
        seen.read_once(&reader).await?;
    }
    client.close().await
}

/// 29: a connection that breaks while messages are published, and a publisher that sends again what is in doubt, do not change the order in
/// which messages of a key come first.
pub async fn failed_publish(stand: &Stand) -> Check {
    let (proxy, url) = stand.proxied().await?;
    let (client, topic) = ordered(stand).await?;
    let publisher = stand.connect_to(url).await?;
    let reader = client.read_in_order(&topic).await?;
    let cutting = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            proxy.set(Weather::Cut);
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.set(Weather::Clear);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        Ok::<_, Stop>(())
    };
    let publishing = async {
        for n in 0..OF_EACH {
            publish_in_order(&publisher, (0..KEYS).map(|key| numbered(&topic, key, n)).collect()).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, Stop>(())
    };
    futures::future::try_join(cutting, publishing).await?;
    let mut seen = Seen::default();
    seen.read(&[&reader], ARRIVES_WITHIN).await?;
    client.close().await
}

/// Sends what is in doubt again before anything that follows.
async fn publish_in_order(publisher: &Client, mut batch: Vec<Message>) -> Check {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !batch.is_empty() {
        ensure!(Instant::now() < deadline, "{} messages could not be published", batch.len());
        let mut answers = publisher.bus.publish(batch.clone()).await.into_iter();
        batch.retain(|_| !matches!(answers.next(), Some(Published::Acked)));
    }
    Ok(())
}

/// 30: keys are hashed as Kafka's own clients do it, and where partitions can be seen, each message is in that of its key.
pub async fn partitions_by_key(stand: &Stand) -> Check {
    let vectors = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ];
    for (key, hash) in vectors {
        ensure!(murmur2(key.as_bytes()) as i32 == hash, "the hash of {key:?} is not that of Kafka's clients");
    }
    let (client, topic, partitions) = partitioned(stand).await?;
    client.publish(keyed(&topic)).await?;
    for peeked in client.admin.peek(&topic, PeekFrom::Earliest, KEYS * OF_EACH).await? {
        let key = peeked.message.key.as_deref().unwrap_or_default();
        let wanted = format!("{}/", partition_of(key.as_bytes(), partitions));
        ensure!(
            peeked.place.starts_with(&wanted),
            "key {key:?} belongs to {wanted} and is at {}",
            peeked.place
        );
    }
    client.close().await
}

/// 52: messages without a key are spread over the partitions.
pub async fn keyless_spread(stand: &Stand) -> Check {
    let (client, topic, partitions) = partitioned(stand).await?;
    for chunk in 0..20 {
        let batch =
            (0..10).map(|n| Message::new(topic.clone(), vec![b'x'; 2_000]).with_id(format!("{chunk}/{n}")));
        client.publish(batch.collect()).await?;
    }
    let mut counts = BTreeMap::<String, usize>::new();
    for peeked in client.admin.peek(&topic, PeekFrom::Earliest, 200).await? {
        let partition = peeked.place.split('/').next().unwrap_or_default().to_owned();
        *counts.entry(partition).or_default() += 1;
    }
    ensure!(counts.len() == partitions as usize, "{partitions} partitions got {counts:?}");
    stand.note(format!("{counts:?}"));
    client.close().await
}

/// A topic with several partitions.
async fn partitioned(stand: &Stand) -> Check<(Client, Topic, u32)> {
    const PARTITIONS: u32 = 4;
    let client = stand.connect().await?;
    let topic = stand.topic();
    let spec = TopicSpec { partitions: Some(PARTITIONS), ..TopicSpec::new(topic.clone(), TopicKind::Events) };
    match client.admin.create_topic(&spec).await {
        Ok(()) => Ok((client, topic, PARTITIONS)),
        Err(error) if error.kind() == saga_core::ErrorKind::NotAllowed => Err(Stop::does_not_apply(error)),
        Err(error) => Err(error.into()),
    }
}

async fn ordered(stand: &Stand) -> Check<(Client, Topic)> {
    let client = stand.connect().await?;
    if !client.bus.capabilities().key_order {
        return Err(Stop::does_not_apply("the bus keeps no order"));
    }
    let topic = client.declared(stand, TopicKind::Events, &[GROUP]).await?;
    Ok((client, topic))
}

/// So many messages of so many keys, the keys in turns.
fn keyed(topic: &Topic) -> Vec<Message> {
    (0..OF_EACH).flat_map(|n| (0..KEYS).map(move |key| numbered(topic, key, n))).collect()
}

fn numbered(topic: &Topic, key: usize, n: usize) -> Message {
    Message::new(topic.clone(), Vec::new()).with_id(format!("{key}/{n}")).keyed(format!("key {key}"))
}

/// Which message of each key came last for the first time.
#[derive(Default)]
struct Seen {
    last: BTreeMap<String, usize>,
    count: usize,
}

impl Seen {
    /// Reads until everything was seen.
    async fn read(&mut self, readers: &[&Reader], within: Duration) -> Check {
        let deadline = Instant::now() + within;
        while self.count < KEYS * OF_EACH {
            ensure!(
                Instant::now() < deadline,
                "{} of {} messages came in {within:?}",
                self.count,
                KEYS * OF_EACH
            );
            for reader in readers {
                self.read_once(reader).await?;
            }
        }
        Ok(())
    }

    async fn read_once(&mut self, reader: &Reader) -> Check {
        // The deliveries of a batch count as handled in their order.
        let Ok(batch) = timeout(Duration::from_millis(200), reader.next(KEYS)).await else { return Ok(()) };
        let batch = batch?;
        batch.iter().try_for_each(|delivery| self.note(delivery))?;
        reader.settle(batch.into_iter().map(Delivery::ack).collect()).await;
        Ok(())
    }

    fn note(&mut self, delivery: &Delivery) -> Check {
        let id = delivery.message.id.as_str();
        let (key, n) = id.split_once('/').ok_or_else(|| Stop::failed(format!("message {id} came")))?;
        let n: usize = n.parse().map_err(Stop::failed)?;
        let next = self.last.entry(key.to_owned()).or_default();
        ensure!(n <= *next, "of key {key} message {n} came before {next}");
        if n == *next {
            *next += 1;
            self.count += 1;
        }
        Ok(())
    }
}
