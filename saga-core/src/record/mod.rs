//! Plain data: what is stored in the saga log and shown to people. No behaviour beyond parsing.

mod definition_ref;
mod entry;
mod ids;
#[cfg(test)]
mod kept;
mod operation;
mod outcome;
mod outline;
mod payload;
mod retry;
mod time;

pub use definition_ref::{DefinitionRef, Digest};
pub use entry::{Action, Announcement, Entry, Fact, FenceAnswer, PlanItem, Report, StepIndex};
pub(crate) use ids::check_name;
pub use ids::{InvalidName, MessageId, RunId, SagaId, SagaKey, Topic};
pub use operation::{HeldInput, NamedVerb, Operation, Resolution, Verb};
pub use outcome::{Cause, Ending, Status};
pub use outline::{Outline, StepOutline};
pub use payload::Payload;
pub use retry::Retry;
pub use time::Timestamp;
