use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

use super::dead::DeadLetters;
use super::faults::{Fate, FaultSource, Faults};
use super::group::{GivenUp, Queued};
use super::topic::TopicCell;
use crate::error::{Error, ErrorKind};
use crate::memory::hash::FastHash;
use crate::memory::lock;
use crate::ports::{Clock, DeadLetter, Declaration, Redriven, TopicKind};
use crate::record::{Timestamp, Topic};
use crate::wire::Message;

pub(super) type Topics = HashMap<Topic, Arc<TopicCell>, FastHash>;

/// What all connections share.
pub(super) struct Broker {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    /// A full group has room again, or a connection was closed.
    pub(super) room: Notify,
    topics: RwLock<Topics>,
    dead: Mutex<DeadLetters>,
    faults: Mutex<FaultSource>,
    /// Spares the publishers of a healthy bus the lock of the faults.
    faulty: AtomicBool,
    numbers: AtomicU32,
}

/// See [`MemoryBusBuilder`](super::MemoryBusBuilder).
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) message_bytes_max: usize,
    pub(super) topic_messages_max: usize,
    pub(super) retained_messages_max: usize,
    pub(super) dead_letters_max: usize,
}

impl Broker {
    pub(super) fn new(clock: Arc<dyn Clock>, limits: Limits, faults: Faults) -> Self {
        Self {
            clock,
            limits,
            room: Notify::new(),
            topics: RwLock::default(),
            dead: Mutex::default(),
            faulty: AtomicBool::new(!faults.is_none()),
            faults: Mutex::new(FaultSource::new(faults)),
            numbers: AtomicU32::new(0),
        }
    }

    /// A number that was not given before, for members and groups.
    pub(super) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn topic(&self, topic: &Topic) -> Result<Arc<TopicCell>, Error> {
        self.topics().get(topic).cloned().ok_or_else(|| undeclared(topic))
    }

    pub(super) fn declare(&self, declaration: &Declaration) -> Result<(), Error> {
        let topic = &declaration.topic;
        if declaration.kind == TopicKind::Commands && declaration.groups.len() > 1 {
            let message = format!("commands topic {topic} is declared with more than one group: it has one");
            return Err(Error::new(ErrorKind::Permanent, message));
        }
        let cell = {
            let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            let cell = topics.entry(topic.clone()).or_insert_with(|| {
                let retained_max = self.limits.retained_messages_max;
                Arc::new(TopicCell::new(topic.clone(), declaration.kind, retained_max, self.number()))
            });
            Arc::clone(cell)
        };
        cell.declare(declaration, || self.number())
    }

    /// What goes wrong with this batch; `None` on a healthy bus.
    pub(super) fn fates(&self, batch: &[Message]) -> Option<Vec<Option<Fate>>> {
        self.faulty.load(Ordering::Relaxed).then(|| lock(&self.faults).decide(batch))
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.faulty.store(!faults.is_none(), Ordering::Relaxed);
        *lock(&self.faults) = FaultSource::new(faults);
    }

    pub(super) fn bury(&self, given_up: Vec<GivenUp>, group: &Arc<str>, at: Timestamp) {
        let mut dead = lock(&self.dead);
        for GivenUp { queued, reason } in given_up {
            let Queued { message, attempts, .. } = queued;
            let letter = DeadLetter { message, reason, group: Arc::clone(group), attempts, at };
            dead.push(letter, self.limits.dead_letters_max);
        }
    }

    pub(super) fn dead_letters(&self, topic: &Topic) -> Vec<DeadLetter> {
        lock(&self.dead).of(topic)
    }

    /// Fails when there is no such topic or group.
    pub(super) fn check_group(&self, topic: &Topic, group: &str) -> Result<(), Error> {
        let cell = self.topic(topic)?;
        let position = lock(&cell.state).position(group);
        position.map(drop).ok_or_else(|| {
            let message = format!("group {group} of topic {topic} was not declared");
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Removes a topic with everything of it; its subscriptions find it gone.
    pub(super) fn delete(&self, topic: &Topic) -> Result<(), Error> {
        let removed = self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
        let cell = removed.ok_or_else(|| undeclared(topic))?;
        lock(&cell.state).is_deleted = true;
        lock(&self.dead).forget(topic);
        cell.wake.notify_waiters();
        // Who waits for room in it waits no more.
        self.room.notify_waiters();
        Ok(())
    }

    pub(super) fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error> {
        self.check_group(topic, group)?;
        let cell = self.topic(topic)?;
        let mut state = lock(&cell.state);
        let (letters, kept) = lock(&self.dead).take(topic, group, max);
        let redriven = Redriven { sent: letters.len() as u64, kept };
        let now = self.clock.now();
        for letter in letters {
            let group = state.position(&letter.group).expect("groups are never removed");
            state.groups[group].admit(Queued { message: letter.message, attempts: 0, published_at: now });
        }
        drop(state);
        cell.wake.notify_waiters();
        Ok(redriven)
    }
}

pub(super) fn undeclared(topic: &Topic) -> Error {
    Error::new(ErrorKind::NotFound, format!("topic {topic} was not declared: declare it before using it"))
}
