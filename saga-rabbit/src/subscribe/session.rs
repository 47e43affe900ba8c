//! One channel that a group is read on: deliveries come in, and what is settled goes out, in one task, so that acknowledgements of several at
//! once are in their order.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{FutureExt, try_join_all};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use saga_core::Error;
use saga_core::adapter::{Arrived, Stage};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, timeout};

use super::turn::{Turn, lost};
use super::{Handle, Reading};
use crate::error;
use crate::line::GOODBYE;
use crate::settle::{Acks, Desk, Tags, is_long, wait_on};
use crate::wire::{from_wire, now_ms};

/// How many messages are read ahead at least where order is kept: those of one key wait for each other.
const ORDERED_AHEAD_MIN: usize = 256;
/// How many deliveries that have come together are taken in at once.
const TOGETHER_MAX: usize = 256;

/// A channel, and what is under way on it.
pub(super) struct Session {
    reading: Arc<Reading>,
    channel: Channel,
    /// `None` while nothing is to be delivered.
    consumer: Option<Consumer>,
    /// Where order is kept: the right to read.
    turn: Option<Turn>,
    desk: Desk,
    acks: mpsc::UnboundedReceiver<Acks>,
    tags: Tags,
    in_flight_max: watch::Receiver<usize>,
}

impl Session {
    /// Waits for the connection, and for the turn, and begins to read.
    pub(super) async fn begin(reading: &Arc<Reading>) -> Result<Self, Error> {
        let connection = reading.link.consuming.connection().await?;
        let turn = match reading.spec.key_order {
            true => Some(Turn::take(reading, &connection).await?),
            false => None,
        };
        let failed = |error| error::of(error, format!("{} cannot be read", reading.part()));
        let channel = connection.create_channel().await.map_err(failed)?;
        let (put, acks) = mpsc::unbounded_channel();
        let mut session = Self {
            reading: Arc::clone(reading),
            channel,
            consumer: None,
            turn,
            desk: Desk::new(put),
            acks,
            tags: Tags::default(),
            in_flight_max: reading.in_flight_max.subscribe(),
        };
        session.consume().await.map_err(failed)?;
        Ok(session)
    }

    /// Serves until the subscription leaves.
    pub(super) async fn serve(&mut self) -> Result<(), Error> {
        let reading = Arc::clone(&self.reading);
        let mut is_closed = false;
        loop {
            let served = tokio::select! {
                biased;
                Some(acks) = self.acks.recv() => self.settle(acks).await,
                () = reading.stages.reached(Stage::Leaving) => return self.settle_the_rest().await,
                () = reading.stages.reached(Stage::Closed), if !is_closed => {
                    is_closed = true;
                    self.close().await
                }
                Ok(()) = self.in_flight_max.changed(), if !is_closed => self.adjust().await,
                delivery = next(&mut self.consumer) => self.take_in(delivery),
                error = lost(&mut self.turn) => Err(error),
            };
            served.map_err(|error| error::of(error, format!("{} cannot be read", reading.part())))?;
        }
    }

    /// Lets go of the channel, and with it of everything that is not settled; then of the turn.
    pub(super) async fn end(self) {
        let limit = self.reading.link.config.request_timeout();
        // One that is broken is closed.
        let _closed = timeout(limit, self.channel.close(GOODBYE, "left".into())).await;
        if let Some(turn) = self.turn {
            turn.give_back(limit).await;
        }
    }

    async fn consume(&mut self) -> lapin::Result<()> {
        let max = *self.in_flight_max.borrow_and_update();
        let ahead = if self.turn.is_some() { max.max(ORDERED_AHEAD_MIN) } else { max };
        if ahead == 0 {
            return Ok(());
        }
        let prefetch = u16::try_from(ahead).unwrap_or(u16::MAX);
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let queue = self.reading.queue.clone();
        let options = BasicConsumeOptions::default();
        let consumer = self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// The limit has changed. How much the server hands out cannot be changed for a consumer, so another one follows on the same channel. Where
    /// order is kept, what is held here need not be less.
    async fn adjust(&mut self) -> lapin::Result<()> {
        if self.turn.is_some() {
            return Ok(());
        }
        self.cancel().await?;
        self.consume().await
    }

    /// Stops the consumer, and takes in what is still on its way.
    async fn cancel(&mut self) -> lapin::Result<()> {
        let Some(mut consumer) = self.consumer.take() else { return Ok(()) };
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        while let Some(Some(delivery)) = consumer.next().now_or_never() {
            self.arrived(vec![delivery?]);
        }
        Ok(())
    }

    /// Delivers no more. Where order is kept, what was not delivered goes back with the channel only, so that nobody gets it before what is
    /// before it is settled.
    async fn close(&mut self) -> lapin::Result<()> {
        if self.turn.is_some() {
            drop(self.reading.deliveries.close());
            return Ok(());
        }
        self.cancel().await?;
        let returned = self.reading.deliveries.close();
        let tags: Vec<u64> =
            returned.iter().filter(|handle| handle.desk.is(&self.desk)).map(|handle| handle.tag).collect();
        self.tags.forget(&tags);
        let options = BasicNackOptions { requeue: true, multiple: false };
        try_join_all(tags.iter().map(|tag| self.channel.basic_nack(*tag, options))).await.map(drop)
    }

    /// What the consumer has brought, and what came with it, in one go.
    fn take_in(&mut self, first: Option<lapin::Result<Delivery>>) -> lapin::Result<()> {
        let mut together = vec![first.ok_or_else(gone)??];
        let consumer = self.consumer.as_mut().expect("a delivery came from it");
        let mut ended = Ok(());
        while together.len() < TOGETHER_MAX {
            match consumer.next().now_or_never() {
                None => break,
                Some(Some(Ok(delivery))) => together.push(delivery),
                Some(Some(Err(error))) => ended = Err(error),
                Some(None) => ended = Err(gone()),
            }
            if ended.is_err() {
                break;
            }
        }
        self.arrived(together);
        ended
    }

    fn arrived(&mut self, deliveries: Vec<Delivery>) {
        let mut now = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            self.tags.delivered(delivery.delivery_tag);
            let payload = Bytes::from(delivery.data);
            let (message, own) = from_wire(&self.reading.spec.topic, &delivery.properties, payload.clone());
            let handle = Handle {
                tag: delivery.delivery_tag,
                desk: self.desk.clone(),
                id: message.id.clone(),
                properties: delivery.properties,
                payload,
            };
            let arrived = Arrived { message, attempt: own.attempt(), handle };
            let due_ms = own.not_before_ms.unwrap_or_default();
            match due_ms.saturating_sub(now_ms()) {
                0 => now.push(arrived),
                wait if is_long(wait) && self.turn.is_none() => {
                    tokio::spawn(wait_on(Arc::clone(&self.reading), arrived, due_ms));
                }
                wait => {
                    let due = Instant::now() + Duration::from_millis(wait);
                    self.reading.deliveries.arrived_early(arrived, due);
                }
            }
        }
        self.reading.deliveries.arrived(now);
    }

    async fn settle(&mut self, acks: Acks) -> lapin::Result<()> {
        let cover = self.tags.settle(&acks.tags);
        let limit = self.reading.link.config.request_timeout();
        let written = timeout(limit, acknowledge(&self.channel, cover.up_to, &cover.alone)).await;
        let written =
            written.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        acks.answer(written.is_ok());
        written
    }

    async fn settle_the_rest(&mut self) -> Result<(), Error> {
        while let Ok(acks) = self.acks.try_recv() {
            let settled = self.settle(acks).await;
            settled.map_err(|error| error::of(error, format!("{} is left", self.reading.part())))?;
        }
        Ok(())
    }
}

async fn acknowledge(channel: &Channel, up_to: Option<u64>, alone: &[u64]) -> lapin::Result<()> {
    if let Some(tag) = up_to {
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    let options = BasicAckOptions { multiple: false };
    try_join_all(alone.iter().map(|tag| channel.basic_ack(*tag, options))).await.map(drop)
}

/// Without a consumer nothing comes.
async fn next(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// The server has ended the consumer, as when the queue is deleted.
fn gone() -> lapin::Error {
    std::io::Error::other("RabbitMQ has ended the consumer, as when the queue was deleted").into()
}
