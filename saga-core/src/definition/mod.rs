//! What a saga is: its steps, what each waits for, and what happens around them. Built once, checked by
//! [`build`](SagaBuilder::build), and then it cannot be wrong.

mod edges;
mod erased;

pub use edges::{CancelRequest, ForeignReply, StartRequest};
pub use erased::{Definition, FailurePolicy};

pub(crate) use edges::{AnnouncementEdge, CancelEdge, ReplyEdge, TriggerEdge};
pub(crate) use erased::{Decoded, StepDef, Uncomputable};
