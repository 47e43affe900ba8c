//! Kafka, held against the suite.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};
use saga_conformance::{Suite, Throughput};
use saga_kafka::{KafkaBus, KafkaConfig};

/// Short, so that what a dead consumer had comes again soon.
const SESSION: Duration = Duration::from_secs(6);

fn main() -> ExitCode {
    Suite::new("kafka", |url: String| async move {
        let mut config = KafkaConfig::from_url(&url)?;
        config.session_timeout_ms = SESSION.as_millis() as u64;
        KafkaBus::with_config(config).await
    })
    .url_from("SAGA_KAFKA_URL")
    .proxy_from("SAGA_KAFKA_PROXY")
    .lease(SESSION)
    .raw_throughput(Arc::new(|url, topic, count, bytes| {
        async move {
            tokio::task::spawn_blocking(move || raw(&url, &topic, count, bytes))
                .await
                .map_err(|error| error.to_string())?
        }
        .boxed()
    }))
    .break_dead_letters(Arc::new(|url, topic, group| break_dead_letters(url, topic, group).boxed()))
    .main()
}

fn client(url: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", url.trim_start_matches("kafka://"));
    client
}

async fn break_dead_letters(url: String, topic: String, group: String) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> =
        client(&url).create().map_err(|error| error.to_string())?;
    let dead = format!("{topic}.{group}.dlq");
    let deleted =
        admin.delete_topics(&[&dead], &AdminOptions::new()).await.map_err(|error| error.to_string())?;
    deleted
        .into_iter()
        .try_for_each(|topic| topic.map(drop).map_err(|(name, code)| format!("{name}: {code}")))?;
    // The deletion is recorded; what is written before the broker has seen to it is still taken.
    for _ in 0..100 {
        let known = admin.inner().fetch_metadata(Some(&dead), Duration::from_secs(5));
        let known = known.map_err(|error| error.to_string())?;
        if known.topics().iter().all(|topic| topic.error().is_some()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{dead} is still there"))
}

/// The client's fastest way: a threaded producer that counts, and a consumer that commits now and then.
fn raw(url: &str, topic: &str, count: usize, bytes: usize) -> Result<Throughput, String> {
    let failed = |error: rdkafka::error::KafkaError| error.to_string();
    let admin: AdminClient<DefaultClientContext> = client(url).create().map_err(failed)?;
    let new = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
    futures::executor::block_on(admin.create_topics([&new], &AdminOptions::new())).map_err(failed)?;
    let acked = Arc::new(AtomicUsize::new(0));
    let mut settings = client(url);
    settings.set("enable.idempotence", "true").set("linger.ms", "1").set("compression.type", "lz4");
    let producer: ThreadedProducer<Counting> =
        settings.create_with_context(Counting(Arc::clone(&acked))).map_err(failed)?;
    let payload = vec![b'x'; bytes];
    let begun = Instant::now();
    for _ in 0..count {
        let record = BaseRecord::<(), [u8]>::to(topic).payload(&payload);
        producer.send(record).map_err(|(error, _)| error.to_string())?;
    }
    producer.flush(Duration::from_secs(60)).map_err(failed)?;
    let published = count as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(acked.load(Ordering::Relaxed), count, "every message is acknowledged");
    settings.set("group.id", topic).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = settings.create().map_err(failed)?;
    consumer.subscribe(&[topic]).map_err(failed)?;
    let first = loop {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            break message.map_err(failed)?.detach();
        }
    };
    drop(first);
    let begun = Instant::now();
    for _ in 1..count {
        consumer.poll(Duration::from_secs(10)).ok_or("nothing came")?.map_err(failed)?;
    }
    consumer.commit_consumer_state(CommitMode::Sync).map_err(failed)?;
    let consumed = count as f64 / begun.elapsed().as_secs_f64();
    Ok(Throughput { published, consumed })
}

/// Counts acknowledgements.
struct Counting(Arc<AtomicUsize>);

impl ClientContext for Counting {}

impl ProducerContext<NoCustomPartitioner> for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
    }
}
