use std::fmt;
use std::sync::Arc;

use crate::ports::Ended;
use crate::record::{Action, Payload, Report, SagaId, Topic};
use crate::wire::Message;

/// What a trigger's codec reads from a message: a saga to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest {
    /// The user's id for it.
    pub id: SagaId,
    /// The saga's input, as JSON.
    pub input: Payload,
}

/// What a cancel codec reads from a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// Which saga.
    pub id: SagaId,
    /// Why, in the sender's words.
    pub why: Arc<str>,
}

/// What a reply codec reads from a message that carries no attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignReply {
    /// Which saga.
    pub id: SagaId,
    /// The step's name.
    pub step: Arc<str>,
    /// What it answers.
    pub action: Action,
    /// What it says. A failure that does not say "no effect" is [`Report::Failed`].
    pub report: Report,
}

pub(crate) type Codec<T> = Arc<dyn Fn(&Message) -> Result<T, String> + Send + Sync>;
pub(crate) type BodyFn = Arc<dyn Fn(&Ended) -> Result<Payload, String> + Send + Sync>;

/// A topic whose messages start the saga.
#[derive(Clone)]
pub(crate) struct TriggerEdge {
    pub(crate) topic: Topic,
    pub(crate) codec: Codec<StartRequest>,
}

/// A topic whose messages cancel the saga.
#[derive(Clone)]
pub(crate) struct CancelEdge {
    pub(crate) topic: Topic,
    pub(crate) codec: Codec<CancelRequest>,
}

/// How replies without attributes are read.
#[derive(Clone)]
pub(crate) struct ReplyEdge {
    pub(crate) codec: Codec<ForeignReply>,
}

/// What is published when a saga reaches a point.
#[derive(Clone)]
pub(crate) struct AnnouncementEdge {
    pub(crate) topic: Topic,
    pub(crate) body: BodyFn,
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque_debug!(TriggerEdge, CancelEdge, ReplyEdge, AnnouncementEdge);
