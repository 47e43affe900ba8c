//! The participant: receives commands, claims them at the barrier, runs the user's handlers, replies.
//!
//! Each contract has a task of its own. In it, reading, claiming, running, completing, replying and settling go on beside each other,
//! in batches. A verdict is stored before it is sent, and no command is settled before its reply is published; a crash anywhere brings
//! the command again, and the [`barrier`] says what is still to be done.
//!
//! # Tracing
//! Every attempt runs in a span `attempt` (level debug) with the fields `saga` (the definition's name), `id` (the user's id), `run`, `step`,
//! `action`, `round` and `attempt`.

mod attempt;
pub mod barrier;
mod erased;
mod handler;
mod options;
mod receive;
mod reply;
mod serve;
#[cfg(test)]
mod tests;
mod verdict;
mod worker;

pub use handler::{Attempt, HandlerFn, HandlerWithUndo, ServedBy, handler};
pub use options::ServeOptions;
pub use serve::Participant;

pub(crate) use erased::{Handler, HandlerError, erase};
