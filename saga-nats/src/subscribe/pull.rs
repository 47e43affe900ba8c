//! Pull requests: as many messages are asked for as there is room for, and no more.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message as NatsMessage, StatusCode, Subscriber, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use saga_core::adapter::Arrived;
use saga_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Handle, Reading};
use crate::names::{entity, subject};
use crate::settle::Heard;
use crate::wire::from_wire;

/// How long the server keeps a request that it has nothing for.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often it says meanwhile that it is there.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// After so long without a word, requests count as lost.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// Requests under way, and the messages that answer them.
pub(super) struct Pull {
    reading: Arc<Reading>,
    answers: Subscriber,
    inbox: String,
    request_subject: String,
    stream: String,
    /// How many messages were asked for and have not come.
    asked: usize,
    connected: watch::Receiver<u64>,
    heard: Instant,
}

/// Why pulling ended.
pub(super) enum End {
    /// Nothing is wrong; pull anew.
    Again,
    Failed(Error),
}

impl Pull {
    pub(super) async fn begin(reading: &Arc<Reading>) -> Result<Self, Error> {
        let link = &reading.link;
        // The server does not answer requests to a consumer that is gone on every version, so it is looked for first.
        crate::topology::consumer(link, &reading.spec.topic, &reading.spec.group).await?;
        let mut connected = link.connected.clone();
        connected.mark_unchanged();
        let stream = entity(&subject(&link.config.prefix, &reading.spec.topic)?);
        let inbox = link.client.new_inbox();
        let answers = link.client.subscribe(inbox.clone()).await.map_err(|error| {
            Error::new(ErrorKind::Retry, "the NATS client cannot listen for answers").with_source(error)
        })?;
        let consumer = entity(&reading.spec.group);
        Ok(Self {
            reading: Arc::clone(reading),
            answers,
            inbox,
            request_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            stream,
            asked: 0,
            connected,
            heard: Instant::now(),
        })
    }

    /// Asks for what there is room for, and takes in what comes.
    pub(super) async fn step(&mut self) -> Result<(), End> {
        self.ask().await?;
        if self.asked == 0 {
            let held = self.reading.deliveries.held();
            let left = self.reading.deliveries.below(held);
            // The limit may be raised meanwhile, and the connection be made anew.
            let _looked_again = timeout(LOOK_AGAIN, left).await;
            self.heard = Instant::now();
            return Ok(());
        }
        let silent_at = self.heard + SILENCE_MAX;
        tokio::select! {
            biased;
            answer = self.answers.next() => {
                let answer = answer.ok_or(End::Again)?;
                self.heard = Instant::now();
                self.take_in(answer)
            }
            changed = self.connected.changed(), if self.connected.has_changed().is_ok() => {
                // Requests of the connection before are forgotten by the server.
                let _is_anew = changed;
                Err(End::Again)
            }
            () = self.reading.deliveries.below(self.reading.deliveries.held()), if self.reading.deliveries.held() > 0 => Ok(()),
            () = tokio::time::sleep_until(silent_at) => {
                let message = format!("NATS has been silent about {}", self.reading.part());
                Err(End::Failed(Error::new(ErrorKind::Retry, message)))
            }
        }
    }

    /// Asks for nothing more, and takes in what is still on its way: it can only be given back when it is known.
    pub(super) async fn end(mut self) {
        let draining = async {
            if self.answers.drain().await.is_ok() {
                while let Some(answer) = self.answers.next().await {
                    let mut arrived = Vec::new();
                    let _over_anyhow = self.sort(answer, &mut arrived);
                    self.reading.deliveries.arrived(arrived);
                }
            }
        };
        // Away, nothing is on its way; the acknowledgement wait brings it back.
        let _away = timeout(DRAIN_MAX, draining).await;
    }

    async fn ask(&mut self) -> Result<(), End> {
        let more = self.reading.room().saturating_sub(self.asked);
        // Not one by one: a request for each message that leaves would double the traffic.
        if more == 0 || (self.asked > 0 && more < self.asked) {
            return Ok(());
        }
        let request = format!(
            r#"{{"batch":{more},"expires":{},"idle_heartbeat":{}}}"#,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos()
        );
        let client = &self.reading.link.client;
        let sent = client
            .publish_with_reply(self.request_subject.clone(), self.inbox.clone(), Bytes::from(request))
            .await;
        sent.map_err(|error| {
            End::Failed(Error::new(ErrorKind::Retry, "the NATS client sends no request").with_source(error))
        })?;
        self.asked += more;
        self.heard = Instant::now();
        Ok(())
    }

    fn take_in(&mut self, first: NatsMessage) -> Result<(), End> {
        let mut arrived = Vec::new();
        let mut end = self.sort(first, &mut arrived);
        // What has come with it, in one go.
        while end.is_ok()
            && let Some(Some(more)) = futures::FutureExt::now_or_never(self.answers.next())
        {
            end = self.sort(more, &mut arrived);
        }
        self.reading.deliveries.arrived(arrived);
        end
    }

    /// A message, or a word of the server about a request.
    fn sort(&mut self, answer: NatsMessage, arrived: &mut Vec<Arrived<Handle>>) -> Result<(), End> {
        match answer.status {
            None | Some(StatusCode::OK) => {
                self.asked = self.asked.saturating_sub(1);
                if let Some(message) = self.message(answer) {
                    arrived.push(message);
                }
                Ok(())
            }
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(()),
            // A request has expired, or was given up: what it still asked for will not come.
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => {
                let pending =
                    answer.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let pending = pending.and_then(|pending| pending.as_str().parse().ok()).unwrap_or(self.asked);
                self.asked = self.asked.saturating_sub(pending);
                Ok(())
            }
            Some(status) => {
                let said = answer.description.unwrap_or_default();
                let message =
                    format!("NATS hands out no messages for {}: {status} {said}", self.reading.part());
                Err(End::Failed(Error::new(ErrorKind::Retry, message)))
            }
        }
    }

    fn message(&self, answer: NatsMessage) -> Option<Arrived<Handle>> {
        let link = &self.reading.link;
        let answer = jetstream::Message { message: answer, context: link.jetstream.clone() };
        let (sequence, delivered) = match answer.info() {
            Ok(info) => (info.stream_sequence, info.delivered),
            Err(error) => {
                tracing::warn!(%error, subject = %answer.subject, "not a JetStream delivery; ignored");
                return None;
            }
        };
        let message = answer.message;
        let place = || format!("{}/{sequence}", self.stream);
        let reply = message.reply.clone();
        Some(Arrived {
            message: from_wire(&self.reading.spec.topic, message.headers.as_ref(), message.payload, place),
            attempt: u32::try_from(delivered).unwrap_or(u32::MAX).max(1),
            handle: Handle { reply: reply?, sequence, heard: Heard::now() },
        })
    }
}

/// How long the end of the answers is waited for.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Without room, how often it is looked whether there is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
