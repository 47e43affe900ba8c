use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::after::decode;
use super::builder::CodecError;
use super::canonical::canonical;
use super::erased::{Uncomputable, guarded};
use crate::error::chain;
use crate::ports::Ended;
use crate::record::{Action, Payload, Report, SagaId, Topic};
use crate::wire::Message;
use crate::wire::attributes::SUBJECT;

/// What a trigger's codec reads from a message: a saga to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest<In = Payload> {
    /// The user's id for it.
    pub id: SagaId,
    /// The saga's input.
    pub input: In,
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

/// A user's codec; a panic is a refusal like any other.
pub(super) fn guarded_codec<T>(
    codec: impl Fn(&Message) -> Result<T, CodecError> + Send + Sync + 'static,
) -> Codec<T> {
    Arc::new(move |message| {
        guarded("the codec", || codec(message).map_err(|error| chain(&*error)))
            .map_err(|Uncomputable(why)| why)
    })
}

/// A user's trigger codec, with the input put in its canonical form.
pub(super) fn typed_start<In: Serialize>(
    codec: impl Fn(&Message) -> Result<StartRequest<In>, CodecError> + Send + Sync + 'static,
) -> Codec<StartRequest> {
    guarded_codec(move |message| {
        let StartRequest { id, input } = codec(message)?;
        Ok(StartRequest { id, input: canonical(&input)? })
    })
}

/// The codec of a trigger that has none: the CloudEvents `subject` or the key is the id, the payload the input.
pub(super) fn start_by_subject<In: DeserializeOwned>(
    message: &Message,
) -> Result<StartRequest<In>, CodecError> {
    let id = message.headers.get(SUBJECT).or(message.key.as_deref());
    let id = id.ok_or("it has neither a CloudEvents subject nor a key to be the saga's id")?;
    Ok(StartRequest { id: SagaId::new(id)?, input: decode(&message.payload)? })
}

/// A user's closure for the payload of an announcement; a panic is an error like any other.
pub(super) fn announcement_body<In: DeserializeOwned, Body: Serialize>(
    body: impl Fn(&In, &Ended) -> Body + Send + Sync + 'static,
) -> BodyFn {
    Arc::new(move |ended| {
        let written = guarded("the announcement's closure", || {
            let input = decode(&ended.input)?;
            Payload::json(&body(&input, ended)).map_err(|error| error.to_string())
        });
        written.map_err(|Uncomputable(why)| why)
    })
}

/// A topic whose messages start the saga.
#[derive(Clone)]
pub(crate) struct TriggerEdge {
    pub(crate) topic: Topic,
    pub(crate) codec: Codec<StartRequest>,
    /// Whether it reads what [`Saga::start_message`](super::Saga::start_message) makes.
    pub(crate) is_default: bool,
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
