//! Publishing: pipelined, bounded, in order per key.

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use saga_core::adapter::publish_in_order;
use saga_core::ports::Published;
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind, Message};

use crate::connect::Link;
use crate::names::{entity, subject};
use crate::wire::to_wire;

/// Publishes a batch. Messages of one topic and key keep their order; JetStream itself would not keep it when one is lost.
pub(crate) async fn publish(link: &Link, batch: Vec<Message>) -> Vec<Published> {
    publish_in_order(batch, link.config.publish_in_flight_max, |message| publish_one(link, message)).await
}

async fn publish_one(link: &Link, message: Message) -> Published {
    if let Err(error) = link.check_open() {
        return Published::Unknown(error);
    }
    let subject = match subject(&link.config.prefix, &message.topic) {
        Ok(subject) => subject,
        Err(error) => return Published::Rejected(error),
    };
    let what = format!("message {} to topic {}", message.id, message.topic);
    if message.size_bytes() > message_bytes_max(link) {
        return too_large(link, &what);
    }
    let headers = to_wire(&message);
    match send(link, &subject, headers, message.payload.into_bytes()).await {
        Ok(()) => Published::Acked,
        Err(error) => answer(link, &message.topic, &subject, &what, error).await,
    }
}

/// The largest [`Message::size_bytes`] that is taken: what the server takes, less room for how headers are written.
pub(crate) fn message_bytes_max(link: &Link) -> usize {
    const FOR_HEADERS: usize = 4_096;
    link.client.server_info().max_payload.saturating_sub(FOR_HEADERS)
}

/// Sends one message and waits until the server has it.
pub(crate) async fn send(
    link: &Link,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), PublishError> {
    let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let bytes = bytes.clamp(1, u32::try_from(link.config.publish_bytes_max).unwrap_or(u32::MAX));
    let _message = link.messages.acquire().await.expect("it is never closed");
    let _bytes = link.bytes.acquire_many(bytes).await.expect("it is never closed");
    let message = PublishMessage::build().payload(payload).headers(headers);
    let ack = link.jetstream.send_publish(subject.to_owned(), message).await?.await?;
    if ack.duplicate {
        // Someone gave it a Nats-Msg-Id: within its window the server stores nothing that has the same.
        let source = "the server holds it for a duplicate and did not store it";
        return Err(PublishError::with_source(PublishErrorKind::Other, source));
    }
    Ok(())
}

fn too_large(link: &Link, what: &str) -> Published {
    let limit = message_bytes_max(link);
    let message =
        format!("{what} is too large: this NATS server takes {limit} bytes, and the headers as they travel");
    Published::Rejected(Error::new(ErrorKind::Permanent, message))
}

/// What a failed publish means.
async fn answer(link: &Link, topic: &Topic, subject: &str, what: &str, error: PublishError) -> Published {
    let failed =
        |kind, error: PublishError| Error::new(kind, format!("{what} is not published")).with_source(error);
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => too_large(link, what),
        // While the server starts nobody answers either; only the server itself can tell that there is no such topic.
        PublishErrorKind::StreamNotFound => match link.jetstream.get_stream(entity(subject)).await {
            Ok(_) => Published::Unknown(failed(ErrorKind::Retry, error)),
            Err(reason) => {
                let reason = crate::error::of_stream(reason, topic.as_str());
                match reason.kind() {
                    ErrorKind::NotFound => Published::Rejected(reason),
                    _ => Published::Unknown(failed(ErrorKind::Retry, error)),
                }
            }
        },
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
            Published::Unknown(failed(ErrorKind::Unknown, error))
        }
        _ => Published::Unknown(failed(ErrorKind::Retry, error)),
    }
}
