mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::state::{Next, State};
use crate::error::{Error, ErrorKind};
use crate::ports::{Delivery, Receipt, ReceiptHome, SubscriptionSpec};
use crate::record::Topic;
use crate::wire::Message;

/// A message that came from the broker, with what the adapter needs to settle it there.
#[derive(Debug)]
pub struct Arrived<H> {
    /// The message.
    pub message: Message,
    /// Which delivery of it this is, from 1.
    pub attempt: u32,
    /// The broker's delivery: an offset, a delivery tag, an acknowledgement subject.
    pub handle: H,
}

/// A delivery that is being settled. It holds its place, and where order is kept its key, until [`Deliveries::done`] or
/// [`Deliveries::again`].
#[derive(Debug)]
pub struct Taken<H> {
    /// The broker's delivery.
    pub handle: H,
    token: u64,
}

/// The deliveries of one subscription between the broker and the user: those that have arrived and those that are not settled.
///
/// - It keeps the limit of [`SubscriptionSpec::in_flight_max`], changed live by [`set_in_flight_max`](Self::set_in_flight_max).
/// - With [`SubscriptionSpec::key_order`] a key with an unsettled message delivers nothing else, and a retry waits in place.
/// - A delivery that the user drops is ready again at once, one attempt later.
/// - When the broker takes deliveries back (a lost connection, a revoked partition), [`revoke`](Self::revoke) makes them stale.
///
/// How much has arrived and waits here is the adapter's to limit: see [`held`](Self::held) and [`below`](Self::below). Cloning shares it.
pub struct Deliveries<H> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    topic: Topic,
    group: Arc<str>,
    state: Mutex<State<H>>,
    /// Something may have become ready, or the subscription was closed or has failed.
    ready: Notify,
    /// Something has left.
    left: Notify,
    /// To be the home of receipts.
    this: Weak<Self>,
}

impl<H: Send + 'static> Deliveries<H> {
    /// Of a subscription that nothing has arrived for yet.
    pub fn new(spec: &SubscriptionSpec) -> Self {
        let shared = Arc::new_cyclic(|this| Shared {
            topic: spec.topic.clone(),
            group: Arc::clone(&spec.group),
            state: Mutex::new(State::new(spec.in_flight_max, spec.key_order)),
            ready: Notify::new(),
            left: Notify::new(),
            this: Weak::clone(this),
        });
        Self { shared }
    }

    /// Takes in what came from the broker.
    pub fn arrived(&self, batch: impl IntoIterator<Item = Arrived<H>>) {
        let mut state = self.shared.state();
        batch.into_iter().for_each(|arrived| state.arrive(arrived));
        drop(state);
        self.shared.ready.notify_waiters();
    }

    /// Takes in a message that is not to be delivered before a moment.
    pub fn arrived_early(&self, arrived: Arrived<H>, due: Instant) {
        self.shared.state().wait(arrived, due);
        self.shared.ready.notify_waiters();
    }

    /// How many messages wait for their moment, as for a retry.
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting()
    }

    /// How many messages are here: arrived, delivered, waiting for their retry or behind their key.
    pub fn held(&self) -> usize {
        self.shared.state().held()
    }

    /// Waits until fewer messages than `max` are here. Cancel-safe.
    pub async fn below(&self, max: usize) {
        loop {
            let left = self.shared.left.notified();
            if self.held() < max {
                return;
            }
            left.await;
        }
    }

    /// [`Subscription::next`](crate::ports::Subscription::next). Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`](ErrorKind::Stopped) once closed, or what [`fail`](Self::fail) was given.
    pub async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        // What is always ready would starve the other tasks of its thread. Nothing is taken yet, so nothing can be lost here.
        tokio::task::coop::consume_budget().await;
        let Shared { topic, group, ready, .. } = &*self.shared;
        if max == 0 {
            let message = format!("group {group} of topic {topic}: next(0) would wait for ever");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        loop {
            // Made before the look: a wake-up between the look and the wait then counts.
            let woken = ready.notified();
            match self.take_ready(max) {
                Next::Some(batch) => return Ok(batch),
                Next::Failed(kind, message) => return Err(Error::new(kind, &*message)),
                Next::Closed => {
                    let message = format!("the subscription of group {group} to topic {topic} is closed");
                    return Err(Error::new(ErrorKind::Stopped, message));
                }
                Next::None { due: None } => woken.await,
                Next::None { due: Some(due) } => tokio::select! {
                    biased;
                    () = woken => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }

    fn take_ready(&self, max: usize) -> Next<Vec<Delivery>> {
        let home = self.shared.this.upgrade().expect("it is held here") as Arc<dyn ReceiptHome>;
        let mut state = self.shared.state();
        match state.take(max, Instant::now()) {
            Next::Some(batch) => {
                let deliver = |(token, message, attempt)| {
                    Delivery::new(message, attempt, Receipt::new(token, Arc::clone(&home)))
                };
                Next::Some(batch.into_iter().map(deliver).collect())
            }
            Next::None { due } => Next::None { due },
            Next::Failed(kind, message) => Next::Failed(kind, message),
            Next::Closed => Next::Closed,
        }
    }

    /// Begins to settle a delivery. `None` when it is stale.
    pub fn take(&self, receipt: Receipt) -> Option<Taken<H>> {
        let token = receipt.spend();
        self.shared.state().handle(token).map(|handle| Taken { handle, token })
    }

    /// A delivery is settled at the broker: its place and its key are free.
    pub fn done(&self, taken: Taken<H>) {
        if self.shared.state().done(taken.token) {
            self.shared.ready.notify_waiters();
        }
        self.shared.left.notify_waiters();
    }

    /// A delivery is to come again from here after a while, one attempt later, without a word to the broker; where order is kept its key
    /// waits.
    pub fn again(&self, taken: Taken<H>, after: Duration) {
        self.shared.state().again(taken, Instant::now() + after);
        self.shared.ready.notify_waiters();
    }

    /// The broker has taken deliveries back. What has not been handed to the user is forgotten, what has is stale.
    pub fn revoke(&self, is_gone: impl Fn(&H) -> bool) {
        self.shared.state().revoke(is_gone);
        self.shared.ready.notify_waiters();
        self.shared.left.notify_waiters();
    }

    /// Forgets what has not been handed to the user; what has can be settled.
    pub fn withdraw(&self, is_gone: impl Fn(&H) -> bool) {
        self.shared.state().withdraw(is_gone);
        self.shared.ready.notify_waiters();
        self.shared.left.notify_waiters();
    }

    /// Does something with the handle of every message that is here, as prolonging its lease. A delivery that is being settled is not
    /// among them.
    pub fn each(&self, mut visit: impl FnMut(&H)) {
        self.shared.state().each(&mut visit);
    }

    /// See [`Subscription::set_in_flight_max`](crate::ports::Subscription::set_in_flight_max).
    pub fn set_in_flight_max(&self, in_flight_max: usize) {
        self.shared.state().in_flight_max = in_flight_max;
        self.shared.ready.notify_waiters();
    }

    /// How many may be delivered and not settled.
    pub fn in_flight_max(&self) -> usize {
        self.shared.state().in_flight_max
    }

    /// Until [`recovered`](Self::recovered), [`next`](Self::next) fails so when nothing is ready.
    pub fn fail(&self, kind: ErrorKind, message: impl Into<Arc<str>>) {
        self.shared.state().failure = Some((kind, message.into()));
        self.shared.ready.notify_waiters();
    }

    /// [`next`](Self::next) waits again.
    pub fn recovered(&self) {
        self.shared.state().failure = None;
    }

    /// Delivers no more, and returns what has arrived and was not delivered, to be given back to the broker. What was delivered can still be
    /// settled.
    pub fn close(&self) -> Vec<H> {
        let returned = self.shared.state().close();
        self.shared.ready.notify_waiters();
        self.shared.left.notify_waiters();
        returned
    }

    /// How many are delivered and not settled.
    pub fn in_flight(&self) -> usize {
        self.shared.state().in_flight()
    }

    /// Waits until nothing is delivered and unsettled. Cancel-safe.
    pub async fn settled(&self) {
        loop {
            let left = self.shared.left.notified();
            if self.in_flight() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl<H> Shared<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Send + 'static> ReceiptHome for Shared<H> {
    fn dropped(&self, token: u64) {
        self.state().dropped(token, Instant::now());
        self.ready.notify_waiters();
        self.left.notify_waiters();
    }
}

impl<H> Clone for Deliveries<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Without the messages: they carry personal data.
impl<H> fmt::Debug for Deliveries<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Deliveries");
        shown.field("topic", &self.shared.topic).field("group", &self.shared.group).finish_non_exhaustive()
    }
}
