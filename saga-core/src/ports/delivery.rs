use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::wire::Message;

/// A message handed to a consumer, to be settled once: [`ack`](Delivery::ack), [`retry`](Delivery::retry) or
/// [`dead_letter`](Delivery::dead_letter), each of which consumes it. Dropped without, it is delivered again.
///
/// ```compile_fail,E0382
/// # fn settle_twice(delivery: saga_core::ports::Delivery) {
/// let once = delivery.ack();
/// let twice = delivery.ack(); // the delivery is gone: this does not compile
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped is delivered again"]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Which delivery of this message to this group it is, from 1. A hint: a broker may lose count.
    pub attempt: u32,
    receipt: Receipt,
}

impl Delivery {
    /// For adapters: hands a message out.
    pub const fn new(message: Message, attempt: u32, receipt: Receipt) -> Self {
        Self { message, attempt, receipt }
    }

    /// Done with it.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn ack(self) -> Settlement {
        self.settle(Disposition::Ack)
    }

    /// To be delivered again, no sooner than `after`, with the attempt one higher.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn retry(self, after: Duration) -> Settlement {
        self.settle(Disposition::Retry { after })
    }

    /// To be put with the dead letters, with the reason.
    #[must_use = "pass it to `Subscription::settle`"]
    pub fn dead_letter(self, reason: impl Into<String>) -> Settlement {
        self.settle(Disposition::DeadLetter { reason: reason.into() })
    }

    fn settle(self, disposition: Disposition) -> Settlement {
        Settlement { message: self.message, attempt: self.attempt, disposition, receipt: self.receipt }
    }
}

/// A decision on a delivery, for [`Subscription::settle`](super::Subscription::settle). Dropped instead, the message is delivered again.
#[derive(Debug)]
#[must_use = "pass it to `Subscription::settle`"]
pub struct Settlement {
    /// The message, for adapters that publish it anew.
    pub message: Message,
    /// Its attempt.
    pub attempt: u32,
    /// What is to become of it.
    pub disposition: Disposition,
    /// Which delivery.
    pub receipt: Receipt,
}

/// What is to become of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Done.
    Ack,
    /// Deliver again.
    Retry {
        /// No sooner than this.
        after: Duration,
    },
    /// Put with the dead letters.
    DeadLetter {
        /// Why.
        reason: String,
    },
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It took effect.
    Settled,
    /// Too late: the delivery had been taken back, and the message is or was delivered again.
    Stale,
}

/// What an adapter needs to find a delivery again. Dropping it unspent tells its [`ReceiptHome`].
pub struct Receipt {
    token: u64,
    home: Option<Arc<dyn ReceiptHome>>,
}

/// Where an adapter hears that a delivery was dropped unsettled.
pub trait ReceiptHome: Send + Sync {
    /// The delivery with this token was dropped: deliver its message again. Must not block.
    fn dropped(&self, token: u64);
}

impl Receipt {
    /// A receipt with a token of the adapter's choice.
    pub fn new(token: u64, home: Arc<dyn ReceiptHome>) -> Self {
        Self { token, home: Some(home) }
    }

    /// Takes the token out; the receipt's drop then says nothing.
    pub fn spend(mut self) -> u64 {
        self.home = None;
        self.token
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.dropped(self.token);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("token", &self.token).finish_non_exhaustive()
    }
}
