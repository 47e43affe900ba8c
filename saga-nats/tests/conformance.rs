//! NATS JetStream, held against the suite.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::{FutureExt, StreamExt};
use saga_conformance::{Suite, Throughput};
use saga_nats::{NatsBus, NatsConfig};

/// Short, so that what is taken back comes again soon.
const ACK_WAIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    Suite::new("nats", |url: String| async move {
        let mut config = NatsConfig::from_url(&url)?;
        config.ack_wait_ms = ACK_WAIT.as_millis() as u64;
        NatsBus::with_config(config).await
    })
    .url_from("SAGA_NATS_URL")
    .lease(ACK_WAIT)
    .raw_throughput(Arc::new(|url, topic, count, bytes| raw(url, topic, count, bytes).boxed()))
    .break_dead_letters(Arc::new(|url, topic, group| break_dead_letters(url, topic, group).boxed()))
    .main()
}

async fn raw(url: String, topic: String, count: usize, bytes: usize) -> Result<Throughput, String> {
    raw_client(url, topic, count, bytes).await.map_err(|error| error.to_string())
}

/// As the client's own documentation has it: acknowledgements awaited behind a window, messages pulled in batches.
async fn raw_client(
    url: String,
    topic: String,
    count: usize,
    bytes: usize,
) -> Result<Throughput, async_nats::Error> {
    const WINDOW: usize = 4_096;
    let client = async_nats::connect(url).await?;
    let jetstream = jetstream::context::ContextBuilder::new()
        .max_ack_inflight(WINDOW)
        .backpressure_on_inflight(true)
        .build(client.clone());
    let name = topic.replace('.', "_");
    let retention = jetstream::stream::RetentionPolicy::WorkQueue;
    let config = jetstream::stream::Config {
        name: name.clone(),
        subjects: vec![topic.clone()],
        retention,
        ..Default::default()
    };
    let stream = jetstream.create_stream(config).await?;
    let begun = Instant::now();
    let payload = bytes::Bytes::from(vec![b'x'; bytes]);
    let publish = |_| async {
        jetstream.publish(topic.clone(), payload.clone()).await?.await?;
        Ok::<_, async_nats::Error>(())
    };
    let mut acks = futures::stream::iter(0..count).map(publish).buffer_unordered(WINDOW);
    while let Some(ack) = acks.next().await {
        ack?;
    }
    drop(acks);
    let published = count as f64 / begun.elapsed().as_secs_f64();
    let config =
        jetstream::consumer::pull::Config { durable_name: Some("raw".to_owned()), ..Default::default() };
    let consumer = stream.create_consumer(config).await?;
    let begun = Instant::now();
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?.take(count);
    while let Some(message) = messages.next().await {
        message?.ack().await?;
    }
    client.flush().await?;
    let consumed = count as f64 / begun.elapsed().as_secs_f64();
    jetstream.delete_stream(name).await?;
    Ok(Throughput { published, consumed })
}

async fn break_dead_letters(url: String, topic: String, group: String) -> Result<(), String> {
    let client = async_nats::connect(url).await.map_err(|error| error.to_string())?;
    let stream = format!("{topic}.{group}.dlq").replace('.', "=");
    jetstream::new(client).delete_stream(stream).await.map(drop).map_err(|error| error.to_string())
}
