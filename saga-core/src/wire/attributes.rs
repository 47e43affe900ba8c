//! The names of the CloudEvents 1.0 attributes that the library writes and reads, in the form `ce-…`. A transport's own
//! binding spells the prefix its way: `ce_` on Kafka, `cloudEvents:` on AMQP, `ce-` on NATS. The attribute `id` is
//! [`Message::id`](super::Message::id) and never stands among the headers.

/// CloudEvents `specversion`: `1.0`.
pub const SPECVERSION: &str = "ce-specversion";
/// CloudEvents `source`: which service and saga it comes from.
pub const SOURCE: &str = "ce-source";
/// CloudEvents `type`: `saga.command`, `saga.reply`, `saga.announcement`, `saga.start` or the user's own.
pub const TYPE: &str = "ce-type";
/// CloudEvents `subject`: the saga id.
pub const SUBJECT: &str = "ce-subject";
/// CloudEvents `time`: on a command, when its step was dispatched, by the saga log's clock.
pub const TIME: &str = "ce-time";
/// CloudEvents `datacontenttype`.
pub const CONTENT_TYPE: &str = "ce-datacontenttype";
/// Extension `saga`: the definition's name.
pub const SAGA: &str = "ce-saga";
/// Extension `run`: the run id.
pub const RUN: &str = "ce-run";
/// Extension `step`: the step's name.
pub const STEP: &str = "ce-step";
/// Extension `action`: `execute`, `undo` or `fence`.
pub const ACTION: &str = "ce-action";
/// Extension `round`, from 1.
pub const ROUND: &str = "ce-round";
/// Extension `attempt`: the attempt that a reply reports, or that a bus has made so far.
pub const ATTEMPT: &str = "ce-attempt";
/// Extension `replyto`: the topic of the coordinators that own the saga.
pub const REPLY_TO: &str = "ce-replyto";
/// Extension `retry`: how a participant should retry, as `attempts,first_ms,max_ms`.
pub const RETRY: &str = "ce-retry";
/// Extension `verdict`: on an undo or fence, what the coordinator knows of the step (`succeeded`, `failed`, `unknown`); on a reply,
/// what the participant says.
pub const VERDICT: &str = "ce-verdict";
/// Extension `output`: on an undo, the step's output as the coordinator knows it.
pub const OUTPUT: &str = "ce-output";
/// Extension `traceparent`: the W3C trace context.
pub const TRACEPARENT: &str = "ce-traceparent";
/// On a dead letter: why.
pub const DEAD_REASON: &str = "ce-deadreason";
/// On a dead letter: the topic it was read from.
pub const DEAD_TOPIC: &str = "ce-deadtopic";
/// On a dead letter: the group that gave it up.
pub const DEAD_GROUP: &str = "ce-deadgroup";
