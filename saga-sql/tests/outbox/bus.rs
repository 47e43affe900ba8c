//! A bus that remembers in which order it was given what, and answers as a case wants.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::{
    Capabilities, Declaration, EventBus, Health, Published, Subscription, SubscriptionSpec,
};
use saga_core::{Error, ErrorKind, Message, Topic};

type Answer = Box<dyn Fn(&Message) -> Published + Send + Sync>;

pub(crate) struct RecordingBus {
    acked: Mutex<Vec<Message>>,
    answer: Mutex<Answer>,
    /// How long publishing takes at most; how long it takes is different each time.
    pub(crate) takes_at_most: Duration,
    /// Whether it answers at all.
    pub(crate) hangs: std::sync::atomic::AtomicBool,
}

impl RecordingBus {
    pub(crate) fn new() -> Arc<Self> {
        Self::slow(Duration::ZERO)
    }

    pub(crate) fn slow(takes_at_most: Duration) -> Arc<Self> {
        Arc::new(Self {
            acked: Mutex::default(),
            answer: Mutex::new(Box::new(|_| Published::Acked)),
            takes_at_most,
            hangs: false.into(),
        })
    }

    /// How it answers from now on. What is acknowledged is remembered.
    pub(crate) fn answers(&self, answer: impl Fn(&Message) -> Published + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub(crate) fn acked(&self) -> Vec<Message> {
        self.acked.lock().unwrap().clone()
    }

    /// The payloads that it has, as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.acked().iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
    }

    /// Waits until it has so many.
    pub(crate) async fn until(&self, count: usize) -> Vec<Message> {
        let waiting = async {
            while self.acked.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(waited.is_ok(), "{} of {count} are there: {:?}", self.acked().len(), self.texts());
        self.acked()
    }
}

pub(crate) fn topic() -> Topic {
    Topic::new("orders").unwrap()
}

pub(crate) fn message(key: &str, text: impl Into<String>) -> Message {
    Message::new(topic(), text.into().into_bytes()).keyed(key)
}

/// Some milliseconds, different each time.
pub(crate) fn some_time(at_most: Duration) -> Duration {
    let random = saga_core::record::RunId::random().as_u128() % 1_000;
    at_most * u32::try_from(random).unwrap() / 1_000
}

#[async_trait]
impl EventBus for RecordingBus {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn declare(&self, _declarations: &[Declaration]) -> Result<(), Error> {
        Ok(())
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        if !self.takes_at_most.is_zero() {
            tokio::time::sleep(some_time(self.takes_at_most)).await;
        }
        let answers = {
            let answer = self.answer.lock().unwrap();
            let mut acked = self.acked.lock().unwrap();
            let answers = batch.into_iter().map(|message| {
                let published = answer(&message);
                if matches!(published, Published::Acked) {
                    acked.push(message);
                }
                published
            });
            answers.collect()
        };
        if self.hangs.load(std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        answers
    }

    async fn publish_atomic(&self, _batch: Vec<Message>) -> Published {
        Published::Rejected(Error::new(ErrorKind::NotAllowed, "it cannot"))
    }

    async fn subscribe(&self, _spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        Err(Error::new(ErrorKind::NotAllowed, "nobody reads here"))
    }

    fn health(&self) -> Health {
        Health::default()
    }

    async fn close(&self, _deadline: Duration) -> Result<(), Error> {
        Ok(())
    }
}

impl fmt::Debug for RecordingBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingBus").finish_non_exhaustive()
    }
}
