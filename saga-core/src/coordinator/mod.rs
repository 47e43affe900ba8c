//! The coordinator: the shell around the machine. It reads a batch of inputs, decides, appends the decisions to the log in one group
//! commit, performs what is newly owed in one batched publish, and then settles the inputs. Nothing is acknowledged before its
//! consequences are durable.
//!
//! One task owns every saga in memory; appends, publishes, loads and callbacks run beside it, so that one batch is appended while
//! another is being published. A saga whose append is under way waits; the others do not. What nothing follows from yet, such as the first of four
//! replies, waits a little for what comes for the same saga, and goes to the log together with it.
//!
//! # Tracing
//! Every event carries the fields `saga` (the definition's name) and `id` (the user's id), and where they apply `run`, `step`, `action` and
//! `attempt`. `WARN` and `ERROR` mean that somebody should look: a parked saga, a stalled step, a refused callback, a corrupt record, a log or
//! bus that is away. A saga's `traceparent` comes with its trigger message or with [`Sagas::traced`], and travels on every message of the saga.
//!
//! Correctness does not depend on being alone: every append compares and sets, and what a stale coordinator decides is thrown away.

mod callback;
mod commit;
mod decide;
mod dispatch;
mod engine;
mod gather;
mod input;
mod intake;
mod load;
mod options;
mod others;
mod outcome;
mod registry;
mod run_ids;
mod sagas;
mod slot;
mod taken_over;
mod tenure;
mod wake;

pub use engine::Coordinator;
pub use options::CoordinatorOptions;
pub use outcome::Outcome;
pub(crate) use outcome::describe;
pub use sagas::{CancelAnswer, Sagas, StartError, Started};
