//! Publishing: pipelined and bounded. The idempotent producer keeps the order of each partition.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext};
use saga_core::ports::Published;
use saga_core::{Error, ErrorKind, Message};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::connect::Link;
use crate::error;
use crate::names;
use crate::watching::Watching;
use crate::wire::to_wire;

/// How long a topic that was there is taken to be there still; after that it is asked about again.
const KNOWN_FOR: Duration = Duration::from_secs(30);

pub(crate) async fn publish(link: &Link, batch: Vec<Message>) -> Vec<Published> {
    // Handed to the client in the order given, and only then awaited.
    let mut handed = Vec::with_capacity(batch.len());
    for message in batch {
        let what = format!("message {} to topic {}", message.id, message.topic);
        handed.push((what, hand_over(link, message).await));
    }
    let answers = handed.into_iter().map(|(what, handed)| async move {
        match handed {
            Ok(sent) => answer(sent.acked().await, &what),
            Err(refusal) => refusal,
        }
    });
    join_all(answers).await
}

async fn hand_over(link: &Link, message: Message) -> Result<Sent<'_>, Published> {
    link.check_open().map_err(Published::Unknown)?;
    let topic = names::topic(&link.config.prefix, &message.topic);
    let bytes = message.size_bytes();
    if bytes > link.config.message_bytes_max {
        let max = link.config.message_bytes_max;
        let text = format!(
            "message {} to topic {} has {bytes} bytes; message_bytes_max is {max}",
            message.id, message.topic
        );
        return Err(Published::Rejected(Error::new(ErrorKind::Permanent, text)));
    }
    check_topic(link, &topic, message.topic.as_str()).await?;
    let headers = to_wire(&message, &[]);
    let key = message.key.as_deref().map(str::as_bytes);
    let sent = send(link, &topic, key, headers, message.payload.bytes()).await;
    sent.map_err(|error| answer(Err(error), &format!("message {} to topic {}", message.id, message.topic)))
}

/// Asks whether the topic is there: the client itself would wait for it, and a broker might even create it.
async fn check_topic(link: &Link, topic: &str, shown: &str) -> Result<(), Published> {
    let known = || link.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if known().get(topic).is_some_and(|at| at.elapsed() < KNOWN_FOR) {
        return Ok(());
    }
    match crate::topology::partitions(link, topic).await {
        Ok(Some(_)) => {
            known().insert(topic.to_owned(), Instant::now());
            Ok(())
        }
        Ok(None) => {
            known().remove(topic);
            let text = format!("topic {shown} is not there: declare it before using it");
            Err(Published::Rejected(Error::new(ErrorKind::NotFound, text)))
        }
        Err(error) => Err(Published::Unknown(error)),
    }
}

/// A message that the client has; it holds its share of the limits until it is answered.
pub(crate) struct Sent<'a> {
    report: oneshot::Receiver<Result<(), KafkaError>>,
    _message: tokio::sync::SemaphorePermit<'a>,
    _bytes: tokio::sync::SemaphorePermit<'a>,
}

impl Sent<'_> {
    /// Waits until the brokers have it.
    pub(crate) async fn acked(self) -> Result<(), KafkaError> {
        self.report.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

/// Gives one message to the client, waiting for room.
pub(crate) async fn send<'a>(
    link: &'a Link,
    topic: &str,
    key: Option<&[u8]>,
    headers: OwnedHeaders,
    payload: &[u8],
) -> Result<Sent<'a>, KafkaError> {
    let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let bytes = bytes.clamp(1, u32::try_from(link.config.publish_bytes_max).unwrap_or(u32::MAX));
    let message = link.messages.acquire().await.map_err(|_| KafkaError::Canceled)?;
    let room = link.bytes.acquire_many(bytes).await.map_err(|_| KafkaError::Canceled)?;
    let (tell, report) = oneshot::channel();
    let mut record =
        BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(tell)).headers(headers).payload(payload);
    record.key = key;
    loop {
        match link.producer.send(record) {
            Ok(()) => return Ok(Sent { report, _message: message, _bytes: room }),
            // Its own limit counts what is being retried, too.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                sleep(Duration::from_millis(5)).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn answer(answer: Result<(), KafkaError>, what: &str) -> Published {
    let Err(error) = answer else { return Published::Acked };
    if matches!(error, KafkaError::Canceled) {
        return Published::Unknown(error::stopped());
    }
    let error = error::of(error, format!("{what} is not published"));
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Permanent | ErrorKind::Invalid => Published::Rejected(error),
        _ => Published::Unknown(error),
    }
}

/// Tells each message's sender what became of it.
pub(crate) struct Answers {
    pub(crate) watching: Watching,
}

impl ClientContext for Answers {
    fn error(&self, error: KafkaError, reason: &str) {
        self.watching.seen(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, part: &str, message: &str) {
        self.watching.logged(level, part, message);
    }
}

impl ProducerContext<NoCustomPartitioner> for Answers {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, tell: Self::DeliveryOpaque) {
        let result = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        // Nobody waits for it any more.
        let _dropped = tell.send(result);
    }
}
