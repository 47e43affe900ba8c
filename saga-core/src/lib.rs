//! The core of `saga-rs`. Users depend on the facade package `saga-rs` (library `saga`), which re-exports all of this.

pub mod contract;
pub mod coordinator;
pub mod definition;
mod error;
pub mod machine;
pub mod memory;
pub mod participant;
pub mod ports;
pub mod record;
pub mod wire;

pub use contract::{Compensatable, Contract, Kind, NoUndo, Pivot, Retriable, StepKind};
pub use definition::{BuildError, FailurePolicy, Saga};
pub use error::{Error, ErrorKind};
pub use participant::{HandlerFn, HandlerWithUndo, handler};
pub use ports::{Compensation, Step, StepContext, StepError, Undo};
