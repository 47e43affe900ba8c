//! rawsaga: commands of 300 B out, as many replies back, counted in memory. No log, no undo; at least once, since nothing is acknowledged
//! before what follows from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use tokio::task::JoinHandle;

use super::{Outgoing, Raw, Reader};

const COMMAND_BYTES: usize = 300;
/// How many messages may be unsettled, as our participants and our coordinator have it.
const COMMANDS_MAX: u16 = 4_096;
const REPLIES_MAX: u16 = 16_384;

/// A participant for each step, and the one who counts, over one client.
pub(crate) struct Workload<R: Raw> {
    bus: Arc<R>,
    topics: Vec<Arc<str>>,
    counting: Option<Counting<R>>,
    participants: Vec<JoinHandle<()>>,
}

impl<R: Raw> Workload<R> {
    /// Creates topics whose names begin with this, and starts the participants of so many steps, 64 at most.
    pub(crate) async fn start(url: &str, prefix: &str, steps: usize) -> Self {
        let bus = Arc::new(R::open(url).await);
        let replies: Arc<str> = Arc::from(format!("{prefix}replies"));
        let commands: Vec<Arc<str>> =
            (1..=steps).map(|nth| Arc::from(format!("{prefix}step-{nth}"))).collect();
        let topics: Vec<_> = commands.iter().chain([&replies]).cloned().collect();
        for topic in &topics {
            bus.create(topic).await;
        }
        let mut participants = Vec::new();
        for topic in &commands {
            let reader = bus.read(topic, COMMANDS_MAX).await;
            participants.push(tokio::spawn(participate(Arc::clone(&bus), reader, Arc::clone(&replies))));
        }
        let reader = bus.read(&replies, REPLIES_MAX).await;
        let counting = Counting { bus: Arc::clone(&bus), reader, commands, next: 0, open: HashMap::new() };
        Self { bus, topics, counting: Some(counting), participants }
    }

    /// Keeps so many sagas running until `until`, and awaits their ends; returns how long each took.
    pub(crate) async fn drive(&mut self, in_flight: usize, until: Instant) -> Vec<Duration> {
        let mut counting = self.counting.take().expect("one drive at a time");
        // In a task of its own it runs on the same threads as all others.
        let driven = tokio::spawn(async move { (counting.drive(in_flight, until).await, counting) });
        let (took, counting) = driven.await.expect("it does not panic");
        self.counting = Some(counting);
        took
    }

    /// Deletes the topics.
    pub(crate) async fn stop(self) {
        for participant in self.participants {
            assert!(!participant.is_finished(), "a participant has panicked");
            participant.abort();
            let _cancelled = participant.await;
        }
        drop(self.counting);
        for topic in &self.topics {
            self.bus.delete(topic).await;
        }
    }
}

/// A message's place: the first bytes of its payload.
#[derive(Clone, Copy)]
struct Place {
    saga: u64,
    step: u8,
}

impl Place {
    fn bytes(self, size: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(size.max(9));
        bytes.put_u64(self.saga);
        bytes.put_u8(self.step);
        bytes.resize(size.max(9), b'x');
        bytes.freeze()
    }

    fn of(payload: &[u8]) -> Self {
        let (saga, rest) = payload.split_first_chunk().expect("it was written here");
        Self { saga: u64::from_be_bytes(*saga), step: rest[0] }
    }
}

/// Answers commands. A batch is acknowledged when its replies are; meanwhile the next one is read.
async fn participate<R: Raw>(bus: Arc<R>, mut reader: R::Reader, replies: Arc<str>) {
    let mut answering = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(receipts) = answering.next(), if !answering.is_empty() => reader.ack(receipts).await,
            batch = reader.next() => {
                let (places, receipts): (Vec<_>, Vec<_>) =
                    batch.into_iter().map(|(payload, receipt)| (Place::of(&payload), receipt)).unzip();
                let answers = places.into_iter().map(|place| Outgoing {
                    topic: Arc::clone(&replies),
                    key: place.saga,
                    payload: place.bytes(0),
                });
                let published = bus.publish(answers.collect());
                answering.push_back(async move {
                    published.await;
                    receipts
                });
            }
        }
    }
}

/// Starts sagas and counts their replies.
struct Counting<R: Raw> {
    bus: Arc<R>,
    reader: R::Reader,
    commands: Vec<Arc<str>>,
    next: u64,
    open: HashMap<u64, Open>,
}

/// A saga in flight.
struct Open {
    begun: Instant,
    /// A bit for each step: a reply may come twice.
    answered: u64,
}

impl<R: Raw> Counting<R> {
    async fn drive(&mut self, in_flight: usize, until: Instant) -> Vec<Duration> {
        let mut publishing = FuturesUnordered::new();
        publishing.push(self.begin(in_flight));
        let mut took = Vec::new();
        while !(self.open.is_empty() && publishing.is_empty()) {
            tokio::select! {
                biased;
                Some(()) = publishing.next(), if !publishing.is_empty() => {}
                replies = self.reader.next() => {
                    let (ended, receipts) = self.count(replies);
                    if Instant::now() < until {
                        publishing.push(self.begin(ended.len()));
                    }
                    took.extend(ended);
                    self.reader.ack(receipts).await;
                }
            }
        }
        took
    }

    /// Begins so many sagas: what is returned sends their commands.
    fn begin(&mut self, count: usize) -> impl Future<Output = ()> + Send + use<R> {
        let mut commands = Vec::with_capacity(count * self.commands.len());
        for saga in self.next..self.next + count as u64 {
            self.open.insert(saga, Open { begun: Instant::now(), answered: 0 });
            commands.extend((0..).zip(&self.commands).map(|(step, topic)| Outgoing {
                topic: Arc::clone(topic),
                key: saga,
                payload: Place { saga, step }.bytes(COMMAND_BYTES),
            }));
        }
        self.next += count as u64;
        self.bus.publish(commands)
    }

    /// Takes replies in; returns how long the sagas took that have ended by them.
    fn count<T>(&mut self, replies: Vec<(Bytes, T)>) -> (Vec<Duration>, Vec<T>) {
        let mut ended = Vec::new();
        let mut receipts = Vec::with_capacity(replies.len());
        for (payload, receipt) in replies {
            receipts.push(receipt);
            let Place { saga, step } = Place::of(&payload);
            // One that is not open has ended before: the reply has come twice.
            let Some(open) = self.open.get_mut(&saga) else { continue };
            open.answered |= 1 << step;
            if open.answered.count_ones() as usize == self.commands.len() {
                ended.push(open.begun.elapsed());
                self.open.remove(&saga);
            }
        }
        (ended, receipts)
    }
}
