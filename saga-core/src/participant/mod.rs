//! The participant: receives commands, claims them at the barrier, runs the user's handlers, replies.
pub mod barrier;
