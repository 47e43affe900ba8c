//! Publishing: pipelined, bounded, in order per key.

use std::error::Error as _;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use saga_core::adapter::{Backoff, publish_in_order};
use saga_core::ports::Published;
use saga_core::{Error, ErrorKind, Message};
use tokio::time::{Instant, sleep};

use crate::connect::Link;
use crate::names::{entity, subject};
use crate::wire::to_wire;

/// Publishes a batch. Messages of one topic and key keep their order; JetStream itself would not keep it when one is lost.
pub(crate) async fn publish(link: &Link, batch: Vec<Message>) -> Vec<Published> {
    let bytes_max = message_bytes_max(link);
    let publish = |message| publish_one(link, message, bytes_max);
    publish_in_order(batch, link.config.publish_in_flight_max, publish).await
}

async fn publish_one(link: &Link, message: Message, bytes_max: usize) -> Published {
    if let Err(error) = link.check_open() {
        return Published::Unknown(error);
    }
    let subject = match subject(&link.config.prefix, &message.topic) {
        Ok(subject) => subject,
        Err(error) => return Published::Rejected(error),
    };
    if message.size_bytes() > bytes_max {
        return too_large(link, &message);
    }
    match send_when_there_is_room(link, &subject, &message).await {
        Ok(Stored::Now) => Published::Acked,
        // No message of ours has such an id, so somebody between has given it one.
        Ok(Stored::Before) => {
            let what = named(&message);
            let text =
                format!("{what} is not published: the server holds it for a duplicate and did not store it");
            Published::Unknown(Error::new(ErrorKind::Retry, text))
        }
        Err(error) => answer(link, &subject, &message, error).await,
    }
}

fn named(message: &Message) -> String {
    format!("message {} to topic {}", message.id, message.topic)
}

/// Sends again while the topic or the server's disk is full, at most for the time of a request, so that whoever publishes is held back. The
/// health shows it.
async fn send_when_there_is_room(
    link: &Link,
    subject: &str,
    message: &Message,
) -> Result<Stored, PublishError> {
    const FIRST: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(1);
    let topic = &message.topic;
    let deadline = Instant::now() + Duration::from_millis(link.config.request_timeout_ms);
    let mut backoff = Backoff::new(FIRST, MAX);
    let part = || format!("publishing to topic {topic}");
    loop {
        let sent = send(link, subject, to_wire(message), message.payload.bytes().clone()).await;
        match &sent {
            Ok(_) if link.health.is_up() => {}
            Ok(_) => {
                link.health.up(&part());
            }
            Err(error) if is_full(error) => {
                if link.health.down(&part(), error) {
                    tracing::warn!(%topic, %error, "NATS has no room; waiting for some");
                }
                let wait = backoff.wait();
                if Instant::now() + wait < deadline && link.check_open().is_ok() {
                    sleep(wait).await;
                    continue;
                }
            }
            Err(_) => {}
        }
        return sent;
    }
}

/// What JetStream itself said.
fn said(error: &PublishError) -> Option<ErrorCode> {
    let said = error.source()?.downcast_ref::<async_nats::jetstream::Error>()?;
    Some(said.error_code())
}

fn is_full(error: &PublishError) -> bool {
    const FULL: [ErrorCode; 3] = [
        ErrorCode::STREAM_STORE_FAILED,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
    ];
    said(error).is_some_and(|code| FULL.contains(&code))
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
) -> Result<Stored, PublishError> {
    let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let bytes = bytes.clamp(1, u32::try_from(link.config.publish_bytes_max).unwrap_or(u32::MAX));
    let _message = link.messages.acquire().await.expect("it is never closed");
    let _bytes = link.bytes.acquire_many(bytes).await.expect("it is never closed");
    let message = PublishMessage::build().payload(payload).headers(headers);
    let ack = link.jetstream.send_publish(subject.to_owned(), message).await?.await?;
    Ok(if ack.duplicate { Stored::Before } else { Stored::Now })
}

/// What the server did with a message that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Now,
    /// Within its window it holds another with the same `Nats-Msg-Id`, and did not store this one.
    Before,
}

fn too_large(link: &Link, message: &Message) -> Published {
    let (what, limit) = (named(message), message_bytes_max(link));
    let text =
        format!("{what} is too large: this NATS server takes {limit} bytes, and the headers as they travel");
    Published::Rejected(Error::new(ErrorKind::Permanent, text))
}

/// What a failed publish means.
async fn answer(link: &Link, subject: &str, message: &Message, error: PublishError) -> Published {
    let text = || format!("{} is not published", named(message));
    let failed = |kind, error: PublishError| Error::new(kind, text()).with_source(error);
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => too_large(link, message),
        _ if said(&error) == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => {
            Published::Rejected(failed(ErrorKind::Permanent, error))
        }
        // While the server starts nobody answers either; only the server itself can tell that there is no such topic.
        PublishErrorKind::StreamNotFound => match link.jetstream.get_stream(entity(subject)).await {
            Ok(_) => Published::Unknown(failed(ErrorKind::Retry, error)),
            Err(reason) => {
                let reason = crate::error::of_stream(reason, message.topic.as_str());
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
