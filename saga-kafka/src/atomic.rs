//! Batches that are published whole or not at all: Kafka's transactions. One at a time, on a producer of their own.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use saga_core::ports::Published;
use saga_core::record::MessageId;
use saga_core::{Error, ErrorKind, Message};
use tokio::sync::Mutex;

use crate::connect::{Link, blocking};
use crate::error;
use crate::names;
use crate::wire::to_wire;

/// How long a step of a transaction may take.
const STEP_MAX: Duration = Duration::from_secs(30);

/// The producer of transactions, made when the first one is asked for.
pub(crate) struct Atomic {
    settings: ClientConfig,
    producer: Mutex<Option<Arc<BaseProducer>>>,
}

impl Atomic {
    pub(crate) fn new(settings: ClientConfig) -> Self {
        Self { settings, producer: Mutex::new(None) }
    }
}

pub(crate) async fn publish(link: &Link, batch: Vec<Message>) -> Published {
    if let Err(refusal) = check(link, &batch).await {
        return refusal;
    }
    let mut held = link.atomic.producer.lock().await;
    let producer = match held.take() {
        Some(producer) => producer,
        None => match begin(link.atomic.settings.clone()).await {
            Ok(producer) => producer,
            Err(error) => {
                let error =
                    error::of(error, "no transaction can be begun; nothing of the batch was published");
                return Published::Unknown(Error::new(ErrorKind::Retry, error.to_string()));
            }
        },
    };
    let prefix = link.config.prefix.clone();
    let with = Arc::clone(&producer);
    match blocking(move || Ok(transact(&with, &prefix, &batch))).await {
        Ok(Ok(())) => {
            *held = Some(producer);
            Published::Acked
        }
        // The producer is dropped: one that has failed may be fenced or broken, and a new one aborts what this one left open.
        Ok(Err((at, error))) => failed(at, error),
        Err(error) => failed(At::Commit, error),
    }
}

/// What cannot succeed is refused before anything is begun.
async fn check(link: &Link, batch: &[Message]) -> Result<(), Published> {
    link.check_open().map_err(Published::Rejected)?;
    for message in batch {
        let (id, topic, bytes) = (&message.id, &message.topic, message.size_bytes());
        let refused = |kind, text| Err(Published::Rejected(Error::new(kind, text)));
        if bytes > link.config.message_bytes_max {
            let max = link.config.message_bytes_max;
            return refused(
                ErrorKind::Permanent,
                format!("message {id} to topic {topic} has {bytes} bytes; message_bytes_max is {max}"),
            );
        }
        match crate::topology::partitions(link, &names::topic(&link.config.prefix, topic)).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                return refused(
                    ErrorKind::NotFound,
                    format!("topic {topic} is not there: declare it before using it"),
                );
            }
            Err(error) => return Err(Published::Unknown(error)),
        }
    }
    Ok(())
}

async fn begin(mut settings: ClientConfig) -> Result<Arc<BaseProducer>, KafkaError> {
    settings
        .set("transactional.id", format!("saga-{}", MessageId::random()))
        .set("transaction.timeout.ms", "60000");
    blocking(move || {
        let producer: BaseProducer = settings.create()?;
        producer.init_transactions(STEP_MAX)?;
        Ok(Arc::new(producer))
    })
    .await
}

/// How far a transaction came.
enum At {
    /// It was given up: nothing of it is seen.
    Before,
    /// Nobody knows whether it took effect.
    Commit,
}

fn transact(producer: &BaseProducer, prefix: &str, batch: &[Message]) -> Result<(), (At, KafkaError)> {
    producer.begin_transaction().map_err(|error| (At::Before, error))?;
    for message in batch {
        let topic = names::topic(prefix, &message.topic);
        let headers = to_wire(message, &[]);
        let mut record =
            BaseRecord::<[u8], [u8]>::to(&topic).headers(headers).payload(message.payload.bytes());
        record.key = message.key.as_deref().map(str::as_bytes);
        if let Err((error, _)) = producer.send(record) {
            let _broken_otherwise = producer.abort_transaction(STEP_MAX);
            return Err((At::Before, error));
        }
    }
    producer.commit_transaction(STEP_MAX).map_err(|error| match &error {
        KafkaError::Transaction(said) if said.txn_requires_abort() => {
            let at = if producer.abort_transaction(STEP_MAX).is_ok() { At::Before } else { At::Commit };
            (at, error)
        }
        _ => (At::Commit, error),
    })
}

fn failed(at: At, error: KafkaError) -> Published {
    match at {
        At::Before => {
            let text = "the transaction was given up; nothing of the batch was published";
            Published::Unknown(Error::new(ErrorKind::Retry, text).with_source(error))
        }
        At::Commit => {
            let text = "nobody knows whether the transaction took effect";
            Published::Unknown(Error::new(ErrorKind::Unknown, text).with_source(error))
        }
    }
}
