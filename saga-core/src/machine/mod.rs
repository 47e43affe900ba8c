//! The machine: what a saga is at every moment, and what follows from what happens to it. Pure: no async, no clock, no randomness,
//! no I/O; the time is an argument.
//!
//! - [`Instance::decide`] takes an event and says what to record: nothing for a duplicate, an [`Impossible`] for what cannot be.
//! - Applying an entry ([`Instance::replay`]) is the only way a saga's state changes.
//! - [`Instance::owed`] says what must still be done, the same live or after a crash.

mod apply;
mod decide;
#[cfg(feature = "model")]
mod fingerprint;
mod fits;
mod forward;
mod instance;
mod operate;
mod owed;
mod reply;
mod state;
mod unwind;
mod view;
mod wake;

pub use decide::{Event, Impossible};
pub(crate) use instance::input_digest;
pub use instance::{Corrupt, Instance};
pub use owed::Effect;
pub use view::{StepState, StepView, View};
pub use wake::Resend;

#[cfg(test)]
mod tests;
