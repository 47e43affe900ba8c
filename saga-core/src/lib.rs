//! The core of `saga-rs`. Users depend on the facade package `saga-rs` (library `saga`), which re-exports all of this.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "adapter")]
#[cfg_attr(docsrs, doc(cfg(feature = "adapter")))]
pub mod adapter;
mod check;
pub mod contract;
pub mod coordinator;
pub mod definition;
mod error;
#[cfg(feature = "fuzz")]
#[cfg_attr(docsrs, doc(cfg(feature = "fuzz")))]
pub mod fuzz;
#[cfg(test)]
mod kept;
pub mod machine;
pub mod memory;
pub mod operator;
pub mod participant;
pub mod ports;
mod publish;
mod random;
pub mod record;
pub mod service;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod wire;

pub use check::{Checked, Finding, FindingKind, check};
pub use contract::{Compensatable, Contract, Kind, NoUndo, Pivot, Retriable, StepKind};
pub use coordinator::{CancelAnswer, CoordinatorOptions, Outcome, Sagas, StartError, Started};
pub use definition::{
    BuildError, CancelRequest, FailurePolicy, ForeignReply, Saga, SagaBuilder, StartRequest, StepRef,
};
pub use error::{Error, ErrorKind};
pub use participant::{HandlerFn, HandlerWithUndo, ServeOptions, handler};
pub use ports::{Callback, CallbackError, Compensation, Ended, EventBus, Step, StepContext, StepError, Undo};
pub use record::{Announcement, Ending, Payload, Resolution, Retry, SagaId, Status, Timestamp, Topic};
pub use service::{Service, ServiceBuilder};
pub use wire::Message;
