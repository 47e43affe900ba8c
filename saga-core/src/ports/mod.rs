//! The ports: what an adapter must do, each with its contract, and nothing else.
//!
//! All of them are object-safe and held as `Arc<dyn …>`; a third party's adapter is used like the library's own. Ports take
//! batches where an adapter gains by them.

mod admin;
mod bus;
mod callback;
mod clock;
mod delivery;
mod health;
mod inbox;
mod log;
mod step;

pub use admin::{
    BusAdmin, Cleanup, Compression, DeadLetter, GroupDescription, GroupMember, GroupPartition, PeekFrom,
    Peeked, Redriven, TopicDescription, TopicSpec,
};
pub use bus::{
    Capabilities, Declaration, EventBus, Group, GroupStart, Lag, Published, Subscription, SubscriptionSpec,
    TopicKind,
};
pub use callback::{Callback, CallbackError, Ended};
pub use clock::Clock;
pub use delivery::{Delivery, Disposition, Receipt, ReceiptHome, Settled, Settlement};
pub use health::{Health, Problem};
pub use inbox::{
    Claim, ClaimAnswer, ClaimToken, Completed, Completion, Effects, Inbox, Known, Performed, Task,
};
pub use log::{
    Append, AppendError, Audited, Census, Lease, Query, Record, SagaLog, StoredSaga, Summary, Tombstone,
    Version, Woken,
};
pub(crate) use step::StepErrorKind;
pub use step::{Compensation, Step, StepContext, StepError, Undo};

#[cfg(any(test, feature = "mock"))]
pub use {
    admin::MockBusAdmin,
    bus::{MockEventBus, MockSubscription},
    callback::MockCallback,
    clock::MockClock,
    inbox::MockInbox,
    log::MockSagaLog,
    step::{MockCompensation, MockStep},
};
