use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

use crate::error::{Error, ErrorKind};
use crate::ports::{
    Capabilities, Declaration, Delivery, Disposition, EventBus, Health, Lag, Published, Receipt, ReceiptHome,
    Settled, Settlement, Subscription, SubscriptionSpec,
};
use crate::record::Topic;
use crate::wire::{Command, Message};

/// One topic of commands, redelivering what is retried or dropped, that keeps a diary.
pub(super) struct TestBus {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    /// Publishing takes one permit a batch.
    pub(super) publishing: Semaphore,
}

#[derive(Default)]
struct State {
    ready: VecDeque<(Message, u32)>,
    /// By token.
    unsettled: Vec<Option<(Message, u32)>>,
    diary: Vec<Done>,
    /// What the next reads and publishings fail with.
    read_errors: VecDeque<ErrorKind>,
    publish_errors: VecDeque<Published>,
    closed: bool,
}

/// What was done to the bus.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Published(Message),
    Acked,
    Retried(Duration),
    Dead(String),
    Dropped,
}

impl Default for TestBus {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::default(),
            publishing: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl TestBus {
    /// One on which publishing waits for permits.
    pub(super) fn stuck() -> Self {
        Self { publishing: Semaphore::new(0), ..Self::default() }
    }

    pub(super) fn send(&self, command: Command) {
        self.deliver(command.into_message(Topic::new("pay").unwrap(), "/test"), 1);
    }

    pub(super) fn deliver(&self, message: Message, attempt: u32) {
        self.state.lock().unwrap().ready.push_back((message, attempt));
        self.changed.notify_waiters();
    }

    pub(super) fn fail_reads(&self, errors: impl IntoIterator<Item = ErrorKind>) {
        self.state.lock().unwrap().read_errors.extend(errors);
    }

    pub(super) fn fail_publishing(&self, errors: impl IntoIterator<Item = Published>) {
        self.state.lock().unwrap().publish_errors.extend(errors);
    }

    /// Waits until so much has been done, and returns it.
    pub(super) async fn diary(&self, count: usize) -> Vec<Done> {
        self.until(|state| (state.diary.len() >= count).then(|| state.diary.clone())).await
    }

    /// Waits until so many commands were acknowledged or given up, and returns what was done until then.
    pub(super) async fn settled(&self, count: usize) -> Vec<Done> {
        let is_final = |done: &&Done| matches!(done, Done::Acked | Done::Dead(_));
        self.until(|state| {
            (state.diary.iter().filter(is_final).count() >= count).then(|| state.diary.clone())
        })
        .await
    }

    async fn until<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&self.state.lock().unwrap()) {
                return found;
            }
            changed.await;
        }
    }

    pub(super) fn unsettled(&self) -> usize {
        self.state.lock().unwrap().unsettled.iter().flatten().count()
    }

    pub(super) fn ready(&self) -> usize {
        self.state.lock().unwrap().ready.len()
    }
}

impl fmt::Debug for TestBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestBus")
    }
}

#[async_trait]
impl EventBus for TestBus {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn declare(&self, _: &[Declaration]) -> Result<(), Error> {
        Ok(())
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        self.publishing.acquire().await.unwrap().forget();
        let mut state = self.state.lock().unwrap();
        let answers = batch.into_iter().map(|message| {
            if let Some(error) = state.publish_errors.pop_front() {
                return error;
            }
            state.diary.push(Done::Published(message));
            Published::Acked
        });
        let answers = answers.collect();
        self.changed.notify_waiters();
        answers
    }

    async fn publish_atomic(&self, _: Vec<Message>) -> Published {
        unreachable!("participants publish message by message")
    }

    fn health(&self) -> Health {
        Health::default()
    }

    async fn subscribe(&self, _: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        self.state.lock().unwrap().closed = false;
        let home = Arc::new(Home { state: Arc::downgrade(&self.state), changed: Arc::clone(&self.changed) });
        Ok(Arc::new(Reader { state: Arc::clone(&self.state), changed: Arc::clone(&self.changed), home }))
    }

    async fn close(&self, _: Duration) -> Result<(), Error> {
        Ok(())
    }
}

struct Reader {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    home: Arc<Home>,
}

struct Home {
    state: Weak<Mutex<State>>,
    changed: Arc<Notify>,
}

impl ReceiptHome for Home {
    fn dropped(&self, token: u64) {
        let Some(state) = self.state.upgrade() else { return };
        let mut state = state.lock().unwrap();
        let (message, attempt) = state.unsettled[token as usize].take().unwrap();
        state.ready.push_back((message, attempt + 1));
        state.diary.push(Done::Dropped);
        self.changed.notify_waiters();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().unwrap();
                if state.closed {
                    return Err(Error::new(ErrorKind::Stopped, "closed"));
                }
                if let Some(kind) = state.read_errors.pop_front() {
                    return Err(Error::new(kind, "the broker says so"));
                }
                let count = state.ready.len().min(max);
                let batch = state.ready.drain(..count).collect::<Vec<_>>();
                let deliveries = batch.into_iter().map(|(message, attempt)| {
                    let token = state.unsettled.len() as u64;
                    state.unsettled.push(Some((message.clone(), attempt)));
                    Delivery::new(message, attempt, Receipt::new(token, Arc::clone(&self.home) as _))
                });
                let deliveries = deliveries.collect::<Vec<_>>();
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
            }
            changed.await;
        }
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        let mut state = self.state.lock().unwrap();
        for settlement in batch {
            let token = settlement.receipt.spend() as usize;
            let (message, attempt) = state.unsettled[token].take().expect("settled once");
            state.diary.push(match settlement.disposition {
                Disposition::Ack => Done::Acked,
                Disposition::DeadLetter { reason } => Done::Dead(reason),
                Disposition::Retry { after } => {
                    let (state, changed) = (Arc::clone(&self.state), Arc::clone(&self.changed));
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        state.lock().unwrap().ready.push_back((message, attempt + 1));
                        changed.notify_waiters();
                    });
                    Done::Retried(after)
                }
            });
        }
        self.changed.notify_waiters();
        Vec::new()
    }

    fn set_in_flight_max(&self, _: usize) {}

    async fn lag(&self) -> Result<Lag, Error> {
        Ok(Lag::default())
    }

    async fn close(&self) {
        self.state.lock().unwrap().closed = true;
        self.changed.notify_waiters();
    }
}
