//! lapin: whole publishes pipelined over several channels; a channel for each topic that is read, with acknowledgements of several at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};
use saga_rabbit::RabbitConfig;
use tokio::sync::Semaphore;

use super::{Outgoing, Raw, Reader, TOGETHER_MAX, plain};

/// The client looks through all of a channel's unanswered messages at each acknowledgement of several.
const CHANNELS: usize = 4;
const DURABLE: u8 = 2;

pub(crate) struct Rabbit {
    config: RabbitConfig,
    consuming: Connection,
    /// Kept open; those that publish are stopped apart from those that read.
    _publishing: Connection,
    pipes: Arc<Pipes>,
}

struct Pipes {
    channels: Vec<Channel>,
    next: AtomicUsize,
    room: Semaphore,
}

impl Raw for Rabbit {
    type Reader = RabbitReader;

    async fn open(url: &str) -> Self {
        let config = RabbitConfig::from_url(url).expect("a URL for RabbitMQ");
        let connect = || Connection::connect(plain(url), ConnectionProperties::default());
        let consuming = connect().await.expect("the server can be reached");
        let publishing = connect().await.expect("the server can be reached");
        let mut channels = Vec::new();
        for _ in 0..CHANNELS {
            let channel = publishing.create_channel().await.expect("a channel");
            channel.confirm_select(ConfirmSelectOptions::default()).await.expect("it confirms");
            channels.push(channel);
        }
        let room = Semaphore::new(config.publish_in_flight_max);
        let pipes = Arc::new(Pipes { channels, next: AtomicUsize::new(0), room });
        Self { config, consuming, _publishing: publishing, pipes }
    }

    fn promise(&self) -> String {
        let copies = match self.config.replication {
            0 => "the server's default number of copies".to_owned(),
            copies => format!("{copies} copies"),
        };
        format!("RabbitMQ, quorum queues, {copies}, confirmed when most copies have it synced")
    }

    async fn create(&self, topic: &str) {
        let channel = self.consuming.create_channel().await.expect("a channel");
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default();
        let made = channel.exchange_declare(dead(topic).as_str().into(), ExchangeKind::Fanout, durable, none);
        made.await.expect("a new exchange");
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::MAX));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-dead-letter-exchange".into(), text(&dead(topic)));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        if self.config.replication > 0 {
            let copies = AMQPValue::LongLongInt(i64::from(self.config.replication));
            arguments.insert("x-quorum-initial-group-size".into(), copies);
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(topic.into(), durable, arguments).await.expect("a new queue");
    }

    async fn delete(&self, topic: &str) {
        self.delete_queue(topic).await;
        let channel = self.consuming.create_channel().await.expect("a channel");
        let dead = dead(topic);
        channel
            .exchange_delete(dead.as_str().into(), ExchangeDeleteOptions::default())
            .await
            .expect("it is there");
    }

    fn publish(&self, batch: Vec<Outgoing>) -> impl Future<Output = ()> + Send + use<> {
        let pipes = Arc::clone(&self.pipes);
        async move {
            join_all(batch.into_iter().map(|message| send(&pipes, message))).await;
        }
    }

    async fn read(&self, topic: &str, unsettled_max: u16) -> RabbitReader {
        let channel = self.consuming.create_channel().await.expect("a channel");
        channel.basic_qos(unsettled_max, BasicQosOptions::default()).await.expect("it limits");
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(topic.into(), "".into(), options, FieldTable::default());
        RabbitReader { consumer: consumer.await.expect("it can be read"), channel }
    }
}

impl Rabbit {
    pub(crate) async fn delete_queue(&self, name: &str) {
        let channel = self.consuming.create_channel().await.expect("a channel");
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("it is there");
    }
}

fn dead(topic: &str) -> String {
    format!("{topic}.dead")
}

async fn send(pipes: &Pipes, message: Outgoing) {
    let _room = pipes.room.acquire().await.expect("it is never closed");
    let nth = pipes.next.fetch_add(1, Ordering::Relaxed) % pipes.channels.len();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(DURABLE);
    let (channel, queue) = (&pipes.channels[nth], (*message.topic).into());
    let sent = channel.basic_publish("".into(), queue, options, &message.payload, properties).await;
    let confirmed = sent.expect("it is sent").await.expect("the server answers");
    assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
}

pub(crate) struct RabbitReader {
    consumer: Consumer,
    channel: Channel,
}

impl Reader for RabbitReader {
    /// The number on the channel.
    type Receipt = u64;

    async fn next(&mut self) -> Vec<(Bytes, u64)> {
        let mut next = self.consumer.next().await;
        let mut together = Vec::new();
        loop {
            let Delivery { data, delivery_tag, .. } = next.expect("it does not end").expect("it can be read");
            together.push((Bytes::from(data), delivery_tag));
            if together.len() == TOGETHER_MAX {
                return together;
            }
            match self.consumer.next().now_or_never() {
                Some(more) => next = more,
                None => return together,
            }
        }
    }

    async fn ack(&mut self, batch: Vec<u64>) {
        let Some(last) = batch.last() else { return };
        self.channel.basic_ack(*last, BasicAckOptions { multiple: true }).await.expect("it is sent");
    }
}
