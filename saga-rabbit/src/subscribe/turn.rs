//! Order per key among several consumers: one of them reads, the others wait. Who reads holds the token of a queue that has one active consumer
//! at a time; the server hands it on when its holder goes, however that goes.
//!
//! The group's own queue cannot be such a queue, since order is asked for only by the subscription, and the others of its subscribers may
//! not want it. An exclusive consumer will not do: quorum queues do not enforce it (RabbitMQ 4.0).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};
use saga_core::{Error, ErrorKind};
use tokio::time::{Instant, sleep, timeout};

use super::Reading;
use crate::error;
use crate::line::GOODBYE;
use crate::publish::{Outcome, Target, missing, send};
use crate::topology::{Settings, ensure_queue, stat};

/// How long a reader that went before may take to be gone from the group's queue.
const GONE_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The right to read. It ends with its channel.
pub(super) struct Turn {
    channel: Channel,
    consumer: Consumer,
}

impl Turn {
    /// Waits until nobody else reads.
    pub(super) async fn take(reading: &Arc<Reading>, connection: &Connection) -> Result<Self, Error> {
        let failed = |error| error::of(error, format!("the turn to read {} cannot be had", reading.part()));
        ensure_token(reading).await?;
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.basic_qos(1, BasicQosOptions::default()).await.map_err(failed)?;
        let (queue, options) = (reading.name.reader(), BasicConsumeOptions::default());
        let mut consumer =
            channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.map_err(failed)?;
        // It works, and waits.
        reading.recovered();
        match consumer.next().await {
            Some(Ok(_token_is_held_until_the_channel_ends)) => {}
            Some(Err(error)) => return Err(failed(error)),
            None => return Err(ended(&reading.part())),
        }
        until_nobody_reads(reading).await?;
        Ok(Self { channel, consumer })
    }

    /// Hands it on.
    pub(super) async fn give_back(self, limit: Duration) {
        // One that is broken has ended.
        let _closed = timeout(limit, self.channel.close(GOODBYE, "done".into())).await;
    }
}

/// Resolves when the turn is lost: somebody else may read now. Without one there is none to be lost.
pub(super) async fn lost(turn: &mut Option<Turn>) -> lapin::Error {
    let Some(turn) = turn else { return std::future::pending().await };
    while let Some(Ok(_further_tokens_mean_nothing)) = turn.consumer.next().await {}
    std::io::Error::other("the turn to read was lost").into()
}

fn ended(part: &str) -> Error {
    Error::new(ErrorKind::Retry, format!("the turn to read {part} was ended by RabbitMQ"))
}

/// There is a token once somebody has waited for it. A second one does no harm: the active consumer gets both.
async fn ensure_token(reading: &Reading) -> Result<(), Error> {
    let Reading { link, name, .. } = reading;
    let what = format!("the turn to read {}", reading.part());
    ensure_queue(link, &what, name.reader(), Settings::one_at_a_time(link)).await?;
    let now = stat(link, name.reader()).await?.ok_or_else(|| ended(&reading.part()))?;
    if now.ready > 0 || now.consumers > 0 {
        return Ok(());
    }
    let properties = BasicProperties::default().with_delivery_mode(2);
    match send(link, Target::queue(name.reader()), properties, "".into()).await {
        Outcome::Acked => Ok(()),
        failed => {
            let message = format!("{what} cannot be had: its token is not written: {failed:?}");
            Err(Error::new(ErrorKind::Retry, message))
        }
    }
}

/// The queues hear of a reader's end one after the other: what it gives back must be back before anybody reads on.
async fn until_nobody_reads(reading: &Reading) -> Result<(), Error> {
    let deadline = Instant::now() + GONE_MAX;
    loop {
        let now = stat(&reading.link, reading.queue.clone()).await?;
        if now.ok_or_else(|| missing(&reading.spec.topic))?.consumers == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            tracing::warn!(topic = %reading.spec.topic, group = %reading.spec.group, "others read this group without asking for order, so there is none");
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}
