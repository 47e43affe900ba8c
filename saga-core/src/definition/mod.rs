//! What a saga is: its steps, what each waits for, and what happens around them. Built once, checked by
//! [`build`](SagaBuilder::build), and then it cannot be wrong.

mod after;
mod build_error;
mod builder;
mod canonical;
mod diagram;
mod digest;
mod draft;
mod edges;
mod erased;
mod outline;
mod saga;
mod validate;

pub use after::{After, StepRef};
pub use build_error::{BuildError, Fault, Problem};
pub use builder::{CodecError, SagaBuilder, StepOptions};
pub use edges::{CancelRequest, ForeignReply, StartRequest};
pub use erased::{Definition, FailurePolicy};
pub use saga::Saga;

pub(crate) use erased::{Decoded, Uncomputable, panic_text};

/// The most steps a saga can have.
pub const STEPS_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
