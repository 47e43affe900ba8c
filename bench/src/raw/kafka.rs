//! librdkafka: a threaded producer that counts a batch's reports; a consumer for each topic that commits what is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message};
use saga_kafka::KafkaConfig;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Outgoing, Raw, Reader, TOGETHER_MAX};

/// How often it is written down how far a group is, as the adapter has it.
const COMMIT_EVERY_MS: &str = "150";
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(crate) struct Kafka {
    config: KafkaConfig,
    producer: Arc<ThreadedProducer<Answers>>,
    admin: AdminClient<DefaultClientContext>,
}

impl Raw for Kafka {
    type Reader = KafkaReader;

    async fn open(url: &str) -> Self {
        let config = KafkaConfig::from_url(url).expect("a URL for Kafka");
        let mut producer = client(&config);
        producer
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", config.linger_ms.to_string())
            .set("batch.size", "1000000")
            .set("compression.type", &config.compression)
            .set("delivery.timeout.ms", config.delivery_timeout_ms.to_string())
            .set("queue.buffering.max.messages", config.publish_in_flight_max.to_string());
        let producer = ThreadedProducer::from_config_and_context(&producer, Answers);
        Self {
            producer: Arc::new(producer.expect("a producer")),
            admin: client(&config).create().expect("an administrator"),
            config,
        }
    }

    fn promise(&self) -> String {
        let copies = match self.config.replication {
            0 => "the brokers' default number of copies".to_owned(),
            copies => format!("{copies} copies"),
        };
        format!(
            "Kafka, acks=all, idempotent, {} partitions, {copies}, linger {} ms: acknowledged when all copies in sync have it in memory, synced \
             later",
            self.config.partitions, self.config.linger_ms
        )
    }

    async fn create(&self, topic: &str) {
        let partitions = i32::try_from(self.config.partitions).expect("few");
        let copies = match self.config.replication {
            0 => -1,
            copies => i32::from(copies),
        };
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies)).set("retention.ms", "-1");
        let created =
            self.admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers");
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        while !self.is_known(topic).await {
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await;
        let deleted = deleted.expect("the broker answers");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    fn publish(&self, batch: Vec<Outgoing>) -> impl Future<Output = ()> + Send + use<> {
        let producer = Arc::clone(&self.producer);
        async move {
            if batch.is_empty() {
                return;
            }
            let pending = Arc::new(Pending {
                left: AtomicUsize::new(batch.len()),
                has_failed: AtomicBool::new(false),
                all: Notify::new(),
            });
            for message in batch {
                send(&producer, &message, &pending).await;
            }
            pending.all.notified().await;
            assert!(!pending.has_failed.load(Ordering::Relaxed), "a message was not published");
        }
    }

    async fn read(&self, topic: &str, _: u16) -> KafkaReader {
        let mut settings = client(&self.config);
        settings
            .set("group.id", format!("{topic}.raw"))
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_EVERY_MS)
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.config.session_timeout_ms.to_string())
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "100");
        let consumer: StreamConsumer = settings.create().expect("a consumer");
        consumer.subscribe(&[topic]).expect("a topic");
        KafkaReader { consumer: Some(consumer), topic: topic.to_owned() }
    }
}

impl Kafka {
    /// Whether the topic's partitions have leaders: a consumer that comes earlier would look for them ten seconds later.
    async fn is_known(&self, topic: &str) -> bool {
        let (producer, topic) = (Arc::clone(&self.producer), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = producer.client().fetch_metadata(Some(&topic), ANSWER_MAX);
            metadata.expect("the broker answers").topics().iter().all(|topic| {
                let has_leader = |it: &rdkafka::metadata::MetadataPartition| it.leader() >= 0;
                topic.error().is_none()
                    && !topic.partitions().is_empty()
                    && topic.partitions().iter().all(has_leader)
            })
        });
        asked.await.expect("it does not panic")
    }
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", config.servers.join(","))
        .set("client.id", "rawsaga")
        .set("topic.metadata.refresh.interval.ms", "10000");
    client
}

async fn send(producer: &ThreadedProducer<Answers>, message: &Outgoing, pending: &Arc<Pending>) {
    let key = message.key.to_string();
    let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&message.topic, Arc::clone(pending));
    let mut record = record.key(key.as_bytes()).payload(&message.payload);
    while let Err((error, again)) = producer.send(record) {
        let is_full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        assert!(is_full, "{error}");
        record = again;
        sleep(Duration::from_millis(1)).await;
    }
}

/// A batch whose messages are on their way.
struct Pending {
    left: AtomicUsize,
    has_failed: AtomicBool,
    all: Notify,
}

struct Answers;

impl ClientContext for Answers {}

impl ProducerContext<NoCustomPartitioner> for Answers {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        if result.is_err() {
            pending.has_failed.store(true, Ordering::Relaxed);
        }
        if pending.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            pending.all.notify_one();
        }
    }
}

pub(crate) struct KafkaReader {
    consumer: Option<StreamConsumer>,
    topic: String,
}

impl KafkaReader {
    const fn consumer(&self) -> &StreamConsumer {
        self.consumer.as_ref().expect("it is taken when dropped")
    }
}

impl Reader for KafkaReader {
    /// Partition and offset.
    type Receipt = (i32, i64);

    async fn next(&mut self) -> Vec<(Bytes, (i32, i64))> {
        let first = loop {
            match self.consumer().recv().await {
                Ok(message) => break message,
                // What passes by itself, as a group that is being made.
                Err(error) => eprintln!("\nKafka says: {error}"),
            }
        };
        let mut together = vec![taken(&first)];
        let mut more = self.consumer().stream();
        while together.len() < TOGETHER_MAX
            && let Some(Some(Ok(message))) = more.next().now_or_never()
        {
            together.push(taken(&message));
        }
        together
    }

    async fn ack(&mut self, batch: Vec<(i32, i64)>) {
        let mut last = std::collections::BTreeMap::new();
        for (partition, offset) in batch {
            last.insert(partition, offset);
        }
        for (partition, offset) in last {
            self.consumer().store_offset(&self.topic, partition, offset).expect("it is assigned");
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // It waits until it has left its group, which no task may.
        let consumer = self.consumer.take();
        std::thread::spawn(move || drop(consumer));
    }
}

fn taken(message: &BorrowedMessage<'_>) -> (Bytes, (i32, i64)) {
    let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    (payload, (message.partition(), message.offset()))
}
