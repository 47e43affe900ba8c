//! The participant: receives commands, claims them at the barrier, runs the user's handlers, replies.

pub mod barrier;
mod erased;
mod handler;

pub use handler::{Attempt, HandlerFn, HandlerWithUndo, ServedBy, handler};

pub(crate) use erased::{Handler, HandlerError, erase};
