//! RabbitMQ, held against the suite.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use saga_conformance::{Suite, Throughput};
use saga_rabbit::{RabbitBus, RabbitConfig};

/// Short, so that a connection that is half open is noticed soon. A delivery is its consumer's as long as the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    Suite::new("rabbit", |url: String| async move {
        let mut config = RabbitConfig::from_url(&url)?;
        config.heartbeat_ms = HEARTBEAT.as_millis() as u64;
        RabbitBus::with_config(config).await
    })
    .url_from("SAGA_RABBIT_URL")
    .lease(HEARTBEAT)
    .raw_throughput(Arc::new(|url, topic, count, bytes| {
        async move { raw(&url, &topic, count, bytes).await.map_err(|error| error.to_string()) }.boxed()
    }))
    .break_dead_letters(Arc::new(|url, topic, group| {
        async move { break_dead_letters(&url, &topic, &group).await.map_err(|error| error.to_string()) }
            .boxed()
    }))
    .main()
}

async fn channel(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn break_dead_letters(url: &str, topic: &str, group: &str) -> lapin::Result<()> {
    let (_connection, channel) = channel(url).await?;
    let dead = format!("{topic}.{group}.dlq");
    channel.queue_delete(dead.as_str().into(), QueueDeleteOptions::default()).await.map(drop)
}

/// As fast as one channel goes: confirms awaited behind a window, and one acknowledgement for many deliveries.
async fn raw(url: &str, topic: &str, count: usize, bytes: usize) -> lapin::Result<Throughput> {
    const WINDOW: usize = 256;
    const PREFETCH: u16 = 1_000;
    let (_connection, channel) = channel(url).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(topic.into(), durable, arguments).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let payload = vec![b'x'; bytes];
    let begun = Instant::now();
    let publish = |_| async {
        let properties = BasicProperties::default().with_delivery_mode(2);
        channel
            .basic_publish("".into(), topic.into(), BasicPublishOptions::default(), &payload, properties)
            .await?
            .await
    };
    let mut confirms = futures::stream::iter(0..count).map(publish).buffer_unordered(WINDOW);
    while let Some(confirm) = confirms.next().await {
        assert!(confirm?.is_ack(), "every message is acknowledged");
    }
    drop(confirms);
    let published = count as f64 / begun.elapsed().as_secs_f64();
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let begun = Instant::now();
    let consume = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(topic.into(), "".into(), consume, FieldTable::default()).await?;
    for nth in 1..=count {
        let Some(delivery) = consumer.next().await else { break };
        if nth % 256 == 0 || nth == count {
            delivery?.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    let consumed = count as f64 / begun.elapsed().as_secs_f64();
    channel.queue_delete(topic.into(), QueueDeleteOptions::default()).await?;
    Ok(Throughput { published, consumed })
}
