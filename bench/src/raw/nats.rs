//! async-nats: acknowledgements of JetStream awaited by the batch; a pull consumer for each topic.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::{Client, Subject, jetstream};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use saga_nats::NatsConfig;

use super::{Outgoing, Raw, Reader, TOGETHER_MAX, plain};

const GROUP: &str = "raw";
/// The load itself has a limit; this is never reached.
const UNANSWERED_MAX: usize = 1 << 20;
const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(3);

pub(crate) struct Nats {
    config: NatsConfig,
    client: Client,
    jetstream: Context,
}

impl Raw for Nats {
    type Reader = NatsReader;

    async fn open(url: &str) -> Self {
        let config = NatsConfig::from_url(url).expect("a URL for NATS");
        let client = async_nats::connect(plain(url)).await.expect("the server can be reached");
        let jetstream = ContextBuilder::new()
            .ack_timeout(Duration::from_secs(30))
            .max_ack_inflight(UNANSWERED_MAX)
            .build(client.clone());
        Self { config, client, jetstream }
    }

    fn promise(&self) -> String {
        format!(
            "NATS {}, JetStream in files, {} copies: acknowledged when written, synced as the server's sync_interval says; \
             unless it is `always`, a power failure may lose what was acknowledged",
            self.client.server_info().version,
            self.config.replication
        )
    }

    async fn create(&self, topic: &str) {
        let created = self.jetstream.create_stream(Config {
            name: stream(topic),
            subjects: vec![topic.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: -1,
            storage: StorageType::File,
            num_replicas: self.config.replication,
            allow_direct: true,
            ..Config::default()
        });
        let consumer = pull::Config {
            durable_name: Some(GROUP.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(self.config.ack_wait_ms),
            max_deliver: -1,
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        created.await.expect("a new stream").create_consumer(consumer).await.expect("a new consumer");
    }

    async fn delete(&self, topic: &str) {
        self.jetstream.delete_stream(stream(topic)).await.expect("it is there");
    }

    fn publish(&self, batch: Vec<Outgoing>) -> impl Future<Output = ()> + Send + use<> {
        let jetstream = self.jetstream.clone();
        async move {
            let mut answers = Vec::with_capacity(batch.len());
            for Outgoing { topic, payload, .. } in batch {
                let message = PublishMessage::build().payload(payload);
                answers.push(jetstream.send_publish(topic.to_string(), message).await.expect("it is sent"));
            }
            for answer in answers {
                assert!(!answer.await.expect("the server has it").duplicate, "ids are not used");
            }
        }
    }

    async fn read(&self, topic: &str, unsettled_max: u16) -> NatsReader {
        let consumer: jetstream::consumer::PullConsumer =
            self.jetstream.get_consumer_from_stream(GROUP, stream(topic)).await.expect("it is there");
        let messages = consumer
            .stream()
            .max_messages_per_batch(usize::from(unsettled_max))
            .expires(EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages();
        NatsReader { messages: messages.await.expect("it can be read"), client: self.client.clone() }
    }
}

/// Names of streams have no dots.
fn stream(topic: &str) -> String {
    topic.replace('.', "-")
}

pub(crate) struct NatsReader {
    messages: pull::Stream,
    client: Client,
}

impl Reader for NatsReader {
    /// Where the acknowledgement goes.
    type Receipt = Subject;

    async fn next(&mut self) -> Vec<(Bytes, Subject)> {
        let mut next = self.messages.next().await;
        let mut together = Vec::new();
        loop {
            let message = next.expect("it does not end").expect("it can be read").message;
            together.push((message.payload, message.reply.expect("JetStream's have one")));
            if together.len() == TOGETHER_MAX {
                return together;
            }
            match self.messages.next().now_or_never() {
                Some(more) => next = more,
                None => return together,
            }
        }
    }

    async fn ack(&mut self, batch: Vec<Subject>) {
        for reply in batch {
            self.client.publish(reply, Bytes::from_static(b"+ACK")).await.expect("it is sent");
        }
    }
}
