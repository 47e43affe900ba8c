//! The connection: opening it, watching it, closing it. Calls of the client that wait do so on threads of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{Producer, ThreadedProducer};
use saga_core::adapter::HealthBoard;
use saga_core::{Error, ErrorKind};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::atomic::Atomic;
use crate::config::KafkaConfig;
use crate::error;
use crate::publish::Answers;
use crate::subscribe::Reading;
use crate::watching::{CONNECTION, Told, Watching};

/// What everything of one connection shares.
pub(crate) struct Link {
    pub(crate) config: KafkaConfig,
    pub(crate) health: HealthBoard,
    pub(crate) producer: ThreadedProducer<Answers>,
    pub(crate) admin: AdminClient<Watching>,
    /// Asks about topics, groups and offsets; it never subscribes.
    pub(crate) asking: Arc<BaseConsumer<Watching>>,
    pub(crate) atomic: Atomic,
    /// How many messages, and how many bytes, may still be sent without an answer.
    pub(crate) messages: Semaphore,
    pub(crate) bytes: Semaphore,
    /// Topics that were there when they were last looked for.
    pub(crate) known: Mutex<HashMap<String, Instant>>,
    closed: AtomicBool,
    readings: Mutex<Vec<Weak<Reading>>>,
}

impl Link {
    /// Connects, or says within `connect_timeout_ms` why not.
    pub(crate) async fn open(config: KafkaConfig) -> Result<Arc<Self>, Error> {
        config.check()?;
        let health = HealthBoard::default();
        let watching = Watching::new(health.clone());
        let told = Arc::clone(&watching.told);
        let consumer =
            config.with_users_own(consumer(&config, &config.client_name), |name| !is_producers(name));
        let producer = config.with_users_own(producer(&config), |name| !is_consumers(name));
        let invalid = |error: KafkaError| {
            Error::new(
                ErrorKind::Invalid,
                "the client refuses its settings; TLS and SCRAM need the feature \"tls\"",
            )
            .with_source(error)
        };
        let asking = BaseConsumer::from_config_and_context(&consumer, watching.clone()).map_err(invalid)?;
        let admin = config.with_users_own(config.client(), |name| !is_producers(name) && !is_consumers(name));
        let admin = AdminClient::from_config_and_context(&admin, watching.clone()).map_err(invalid)?;
        let answers = Answers { watching: watching.clone() };
        let threaded = ThreadedProducer::from_config_and_context(&producer, answers).map_err(invalid)?;
        let link = Arc::new(Self {
            atomic: Atomic::new(producer),
            health,
            producer: threaded,
            admin,
            asking: Arc::new(asking),
            messages: Semaphore::new(config.publish_in_flight_max),
            bytes: Semaphore::new(config.publish_bytes_max.min(Semaphore::MAX_PERMITS)),
            known: Mutex::default(),
            closed: AtomicBool::new(false),
            readings: Mutex::default(),
            config,
        });
        link.reach(&told).await?;
        tokio::spawn(watch(Arc::downgrade(&link)));
        Ok(link)
    }

    /// Waits for a first answer.
    async fn reach(&self, told: &Mutex<Told>) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_millis(self.config.connect_timeout_ms);
        loop {
            let wait = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
            let answer = self.ask(move |asking| asking.fetch_metadata(Some(PROBED), wait).map(drop)).await;
            let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(reason) = told.refusal {
                let message = format!(
                    "Kafka at {} refuses this client: {reason}; check user, password, sasl_mechanism, ca_file and client_cert_file",
                    self.config.shown()
                );
                return Err(Error::new(ErrorKind::Permanent, message));
            }
            match answer {
                Ok(()) => {
                    self.health.up(CONNECTION);
                    return Ok(());
                }
                Err(error) if Instant::now() >= deadline => {
                    let message = format!(
                        "Kafka at {} cannot be reached; check that it runs, the URL is right, and whether it demands encryption or a user",
                        self.config.shown()
                    );
                    let why = told.last.unwrap_or_else(|| error.to_string());
                    return Err(Error::new(ErrorKind::Retry, message).with_source(why));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Runs a call of the asking client, which waits, on a thread of its own.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&BaseConsumer<Watching>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let asking = Arc::clone(&self.asking);
        blocking(move || call(&asking)).await
    }

    /// A consumer of a group, to ask about its offsets or to commit them; it never subscribes.
    pub(crate) fn as_group(&self, group: &str) -> Result<BaseConsumer<Watching>, Error> {
        let watching = Watching::new(HealthBoard::default());
        let mut consumer = consumer(&self.config, group);
        consumer.set("auto.offset.reset", "earliest");
        BaseConsumer::from_config_and_context(
            &self.config.with_users_own(consumer, |name| !is_producers(name)),
            watching,
        )
        .map_err(|error| error::of(error, format!("group {group} cannot be asked about")))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(error::stopped()) } else { Ok(()) }
    }

    /// Keeps a reading in mind, for closing.
    pub(crate) fn remember(&self, reading: &Arc<Reading>) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|reading| reading.strong_count() > 0);
        readings.push(Arc::downgrade(reading));
    }

    /// Stops intake, lets what is delivered be settled, flushes, and lets go of the rest.
    pub(crate) async fn close(self: &Arc<Self>, deadline: Duration) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + deadline;
        let readings: Vec<_> = {
            let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
            readings.iter().filter_map(Weak::upgrade).collect()
        };
        readings.iter().for_each(|reading| reading.close());
        self.closed.store(true, Ordering::Release);
        let all = u32::try_from(self.config.publish_in_flight_max).unwrap_or(u32::MAX);
        let drained = async {
            for reading in &readings {
                reading.deliveries.settled().await;
            }
            let _permits = self.messages.acquire_many(all).await;
        };
        let is_drained = tokio::time::timeout_at(deadline, drained).await.is_ok();
        readings.iter().for_each(|reading| reading.leave());
        let left = async {
            for reading in &readings {
                reading.left().await;
            }
        };
        let limit = deadline.saturating_duration_since(tokio::time::Instant::now()).max(LEAVE_MIN);
        let _late = tokio::time::timeout(limit, left).await;
        if is_drained {
            return Ok(());
        }
        let message = "Kafka was closed at its deadline: what was unsettled is delivered again, what was unanswered may not be published";
        Err(Error::new(ErrorKind::Unknown, message))
    }
}

/// Leaving a group gets this much time even past the deadline: it saves the others the wait until this member counts as dead.
const LEAVE_MIN: Duration = Duration::from_secs(5);
/// A topic to ask about, whether it is there or not, to see whether anybody answers.
const PROBED: &str = "__consumer_offsets";

pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer,
        // The runtime is going down, or the call has panicked.
        Err(_) => Err(KafkaError::Canceled),
    }
}

/// Asks now and then whether anybody answers, so that a connection that is cut or half open is seen.
async fn watch(link: Weak<Link>) {
    const EVERY: Duration = Duration::from_secs(2);
    const ANSWER_MAX: Duration = Duration::from_secs(4);
    loop {
        sleep(EVERY).await;
        let Some(link) = link.upgrade() else { return };
        if link.check_open().is_err() {
            return;
        }
        match link.ask(|asking| asking.fetch_metadata(Some(PROBED), ANSWER_MAX).map(drop)).await {
            Ok(()) => {
                if link.health.up(CONNECTION) {
                    tracing::info!("Kafka answers again");
                }
            }
            Err(error) => {
                if link.health.down(CONNECTION, format!("Kafka does not answer: {error}")) {
                    tracing::warn!(%error, "Kafka does not answer; the client tries on");
                }
            }
        }
    }
}

/// A consumer as every subscription has it.
pub(crate) fn consumer(config: &KafkaConfig, group: &str) -> rdkafka::ClientConfig {
    let mut client = config.client();
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (config.session_timeout_ms / 3).max(1).to_string())
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100");
    client
}

fn producer(config: &KafkaConfig) -> rdkafka::ClientConfig {
    let mut client = config.client();
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("sticky.partitioning.linger.ms", "0")
        .set("linger.ms", config.linger_ms.to_string())
        .set("batch.size", "1000000")
        .set("compression.type", &config.compression)
        .set("delivery.timeout.ms", config.delivery_timeout_ms.to_string())
        .set("message.max.bytes", (config.message_bytes_max + HEADER_ROOM).to_string())
        .set("queue.buffering.max.messages", (config.publish_in_flight_max + 1).to_string());
    client
}

/// What a message may take beside its size as the port counts it.
const HEADER_ROOM: usize = 40_000;

/// Settings that only producers know.
pub(crate) fn is_producers(name: &str) -> bool {
    [
        "linger.ms",
        "batch.",
        "compression",
        "acks",
        "partitioner",
        "queue.buffering",
        "delivery.timeout",
        "message.timeout",
        "transaction",
        "retries",
        "enable.idempotence",
        "sticky",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// Settings that only consumers know.
fn is_consumers(name: &str) -> bool {
    [
        "fetch.",
        "queued.",
        "auto.offset",
        "isolation",
        "session.",
        "heartbeat",
        "group.",
        "max.poll",
        "partition.assignment",
        "enable.auto",
        "check.crcs",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

impl Drop for Link {
    fn drop(&mut self) {
        // What is queued would be purged with the producer.
        let _late = self.producer.flush(Duration::from_millis(500));
    }
}
