use std::collections::BTreeMap;
use std::sync::Arc;

use super::Connection;
use super::broker::{Broker, Topics, undeclared};
use super::faults::Fate;
use super::topic::TopicCell;
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::Published;
use crate::record::{Timestamp, Topic};
use crate::wire::Message;

/// Publishes a batch, and waits where a group is full.
pub(super) async fn publish(connection: &Connection, batch: Vec<Message>) -> Vec<Published> {
    tokio::task::coop::consume_budget().await;
    let broker = &*connection.broker;
    let mut outgoing = Outgoing::new(broker, batch);
    if !connection.is_closed() && outgoing.store(broker) {
        return outgoing.answers;
    }
    loop {
        // Made before the look: word of room between the look and the wait then counts.
        let room = broker.room.notified();
        if connection.is_closed() {
            return outgoing.abandon();
        }
        if outgoing.store(broker) {
            return outgoing.answers;
        }
        room.await;
    }
}

/// Publishes a batch whole or not at all. Injected faults do not touch it.
pub(super) async fn publish_atomic(connection: &Connection, batch: Vec<Message>) -> Published {
    tokio::task::coop::consume_budget().await;
    let broker = &*connection.broker;
    loop {
        let room = broker.room.notified();
        if connection.is_closed() {
            let text = "the bus is closed; nothing of the batch was published";
            return Published::Rejected(Error::new(ErrorKind::Stopped, text));
        }
        match store_whole(broker, &batch) {
            Ok(true) => return Published::Acked,
            Ok(false) => room.await,
            Err(refusal) => return Published::Rejected(refusal),
        }
    }
}

/// Stores all of it if all of it has room.
fn store_whole(broker: &Broker, batch: &[Message]) -> Result<bool, Error> {
    let topics = broker.topics();
    let mut shelves = BTreeMap::<&Topic, (&TopicCell, Vec<&Message>)>::new();
    for message in batch {
        let cell = topics.get(&message.topic).ok_or_else(|| undeclared(&message.topic))?;
        check_size(message, broker.limits.message_bytes_max)?;
        shelves.entry(&message.topic).or_insert_with(|| (cell, Vec::new())).1.push(message);
    }
    // Locked in the order of their names: two batches at once cannot wait for each other.
    let mut locked: Vec<_> = shelves.values().map(|(cell, messages)| (lock(&cell.state), messages)).collect();
    let room_max = broker.limits.topic_messages_max;
    if let Some((_, messages)) = locked.iter().find(|(_, messages)| messages.len() > room_max) {
        let text = format!(
            "{} messages of the batch are for topic {}, which never has room for more than {room_max}",
            messages.len(),
            messages[0].topic
        );
        return Err(Error::new(ErrorKind::Permanent, text));
    }
    if locked.iter().any(|(state, messages)| state.room(room_max) < messages.len()) {
        return Ok(false);
    }
    let now = broker.clock.now();
    for (state, messages) in &mut locked {
        messages.iter().for_each(|message| state.publish((*message).clone(), now, None));
    }
    drop(locked);
    shelves.values().for_each(|(cell, _)| cell.wake.notify_waiters());
    Ok(true)
}

fn check_size(message: &Message, bytes_max: usize) -> Result<(), Error> {
    let bytes = message.size_bytes();
    if bytes <= bytes_max {
        return Ok(());
    }
    let (id, topic) = (&message.id, &message.topic);
    let text =
        format!("message {id} to topic {topic} has {bytes} bytes; the in-memory bus takes {bytes_max}");
    Err(Error::new(ErrorKind::Permanent, text))
}

/// A batch on its way, sorted by topic without moving it: each lock is then taken once.
struct Outgoing {
    messages: Vec<Option<Message>>,
    answers: Vec<Published>,
    fates: Option<Vec<Option<Fate>>>,
    shelves: Vec<Shelf>,
    /// For each message the next one on its shelf.
    next: Vec<Option<u32>>,
    now: Timestamp,
}

/// The messages of a batch for one topic, as a chain.
struct Shelf {
    topic: Arc<TopicCell>,
    first: Option<u32>,
    last: u32,
}

impl Outgoing {
    fn new(broker: &Broker, batch: Vec<Message>) -> Self {
        let fates = broker.fates(&batch);
        let count = u32::try_from(batch.len()).expect("fewer than 2^32 messages in a batch");
        let mut outgoing = Self {
            answers: batch.iter().map(|_| Published::Acked).collect(),
            next: vec![None; batch.len()],
            messages: batch.into_iter().map(Some).collect(),
            fates,
            shelves: Vec::new(),
            now: broker.clock.now(),
        };
        let topics = broker.topics();
        for at in 0..count {
            if let Err(refusal) = outgoing.shelve(&topics, broker.limits.message_bytes_max, at) {
                outgoing.answers[at as usize] = Published::Rejected(refusal);
            }
        }
        outgoing
    }

    /// Puts a message on the shelf of its topic, unless it is refused or lost on the way.
    fn shelve(&mut self, topics: &Topics, bytes_max: usize, at: u32) -> Result<(), Error> {
        let message = self.messages[at as usize].as_ref().expect("not stored yet");
        let same = self.shelves.iter().rposition(|shelf| shelf.topic.name == message.topic);
        let cell = match same {
            Some(_) => None,
            None => Some(topics.get(&message.topic).ok_or_else(|| undeclared(&message.topic))?),
        };
        check_size(message, bytes_max)?;
        if let Some(fate) = self.fate(at) {
            let stored = fate.stored;
            if fate.unknown {
                let text = format!("the answer for message {} was lost by an injected fault", message.id);
                self.answers[at as usize] = Published::Unknown(Error::new(ErrorKind::Unknown, text));
            }
            if !stored {
                return Ok(());
            }
        }
        match (same, cell) {
            (Some(shelf), _) => {
                let shelf = &mut self.shelves[shelf];
                self.next[shelf.last as usize] = Some(at);
                shelf.last = at;
            }
            (None, Some(cell)) => {
                self.shelves.push(Shelf { topic: Arc::clone(cell), first: Some(at), last: at });
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Stores what there is room for; true when nothing is left. A full topic does not hold up the others.
    fn store(&mut self, broker: &Broker) -> bool {
        let mut shelves = std::mem::take(&mut self.shelves);
        shelves.retain_mut(|shelf| {
            let topic = Arc::clone(&shelf.topic);
            let mut state = lock(&topic.state);
            let mut room = state.room(broker.limits.topic_messages_max);
            while let Some(at) = shelf.first
                && room > 0
            {
                let message = self.messages[at as usize].take().expect("stored once");
                state.publish(message, self.now, self.fate(at));
                shelf.first = self.next[at as usize];
                room -= 1;
            }
            drop(state);
            topic.wake.notify_waiters();
            shelf.first.is_some()
        });
        self.shelves = shelves;
        self.shelves.is_empty()
    }

    /// The connection was closed: what is not stored yet will not be.
    fn abandon(mut self) -> Vec<Published> {
        for shelf in &self.shelves {
            let mut first = shelf.first;
            while let Some(at) = first {
                let text = format!("the bus was closed before topic {} had room", shelf.topic.name);
                self.answers[at as usize] = Published::Unknown(Error::new(ErrorKind::Stopped, text));
                first = self.next[at as usize];
            }
        }
        self.answers
    }

    fn fate(&self, at: u32) -> Option<&Fate> {
        self.fates.as_ref()?[at as usize].as_ref()
    }
}
