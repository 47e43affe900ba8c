//! Channels in confirm mode, each served by one task.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Target;
use crate::line::Line;

/// How many channels are published on: the client looks through all of a channel's unanswered messages at each acknowledgement of several.
const CHANNELS: usize = 4;
/// How often a channel is looked after whose end was not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What became of a message that was sent.
#[derive(Debug)]
pub(crate) enum Outcome {
    Acked,
    /// There is no queue for it.
    Returned,
    /// The queue did not take it, as when it is full.
    Refused,
    /// The channel or the connection is gone; it may or may not be there.
    Failed(lapin::Error),
    /// There was no answer in time; it may or may not be there.
    Late,
}

/// A message to be sent, and whom to tell. It holds its room until it is answered.
pub(crate) struct Job {
    target: Target,
    properties: BasicProperties,
    payload: Bytes,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    answer: oneshot::Sender<Outcome>,
}

impl Job {
    pub(super) fn new(
        target: Target,
        properties: BasicProperties,
        payload: Bytes,
        room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        (Self { target, properties, payload, _room: room, answer }, answered)
    }

    fn answer(self, outcome: Outcome) {
        // Nobody may wait for it any more.
        let _given_up = self.answer.send(outcome);
    }

    /// Whether a message that came back is this one. The client hands it out with any acknowledgement that comes next.
    fn is(&self, returned: &BasicReturnMessage) -> bool {
        let id = |properties: &BasicProperties| {
            let headers = properties.headers().as_ref();
            headers.and_then(|headers| headers.inner().get("cloudEvents:id").cloned())
        };
        returned.routing_key == self.target.routing_key
            && returned.exchange == self.target.exchange
            && id(&returned.properties) == id(&self.properties)
    }
}

/// The channels that messages are published on.
pub(crate) struct Publisher {
    pipes: Vec<mpsc::UnboundedSender<Job>>,
    next: AtomicUsize,
}

impl Publisher {
    /// Starts the tasks; they end with the publisher.
    pub(crate) fn start(line: &Line, in_flight_max: usize) -> Self {
        let start = |_| {
            // Bounded by the room that jobs hold.
            let (pipe, jobs) = mpsc::unbounded_channel();
            tokio::spawn(serve(line.clone(), jobs));
            pipe
        };
        Self { pipes: (0..CHANNELS.min(in_flight_max)).map(start).collect(), next: AtomicUsize::new(0) }
    }

    pub(super) fn put(&self, job: Job) {
        let nth = self.next.fetch_add(1, Ordering::Relaxed) % self.pipes.len();
        // Without a task the job is dropped, and so answered as late.
        let _ended = self.pipes[nth].send(job);
    }
}

/// Serves one channel after the other, as they break.
async fn serve(line: Line, mut jobs: mpsc::UnboundedReceiver<Job>) {
    const RETRY: Duration = Duration::from_millis(100);
    loop {
        let open = async {
            let connection = line.connection().await.ok()?;
            Some(confirming(&connection).await)
        };
        tokio::select! {
            opened = open => match opened {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(%error, "no channel to publish on yet");
                    sleep(RETRY).await;
                }
                Some(Ok(channel)) => {
                    if Pipe::new(channel).run(&mut jobs).await {
                        return;
                    }
                }
            },
            () = ended(&jobs) => return,
        }
    }
}

/// Resolves when nobody can publish any more.
async fn ended(jobs: &mpsc::UnboundedReceiver<Job>) {
    while !jobs.is_closed() {
        sleep(LOOK_EVERY).await;
    }
}

async fn confirming(connection: &lapin::Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// One channel, with what is on its way.
struct Pipe {
    channel: Channel,
    /// What came back with the acknowledgement of another message.
    strays: Vec<BasicReturnMessage>,
}

impl Pipe {
    const fn new(channel: Channel) -> Self {
        Self { channel, strays: Vec::new() }
    }

    /// Serves jobs until the channel breaks; returns whether there can be no more.
    async fn run(mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) -> bool {
        let mut on_their_way = FuturesUnordered::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_over, mut is_broken) = (false, false);
        while !(is_over || is_broken) || !on_their_way.is_empty() {
            tokio::select! {
                biased;
                Some((job, confirmed)) = on_their_way.next(), if !on_their_way.is_empty() => {
                    is_broken |= self.confirmed(job, confirmed);
                }
                job = jobs.recv(), if !(is_over || is_broken) => match job {
                    Some(job) if job.answer.is_closed() => drop(job),
                    Some(job) => on_their_way.push(send(self.channel.clone(), job)),
                    None => is_over = true,
                },
                _ = look.tick() => {
                    if !self.channel.status().connected() {
                        // What is still here is answered as late.
                        return is_over;
                    }
                }
            }
        }
        is_over
    }

    /// Answers a job; returns whether the channel is broken.
    fn confirmed(&mut self, job: Job, confirmed: lapin::Result<Confirmation>) -> bool {
        let (is_ack, came_back) = match confirmed {
            Ok(Confirmation::Ack(came_back)) => (true, came_back),
            Ok(Confirmation::Nack(came_back)) => (false, came_back),
            Ok(Confirmation::NotRequested) => (false, None),
            Err(error) => {
                job.answer(Outcome::Failed(error));
                return true;
            }
        };
        // What came back is handed out before the acknowledgement of its own message, or with it.
        self.strays.extend(came_back);
        let own = self.strays.iter().position(|stray| job.is(stray));
        let outcome = match own {
            Some(at) => {
                self.strays.swap_remove(at);
                Outcome::Returned
            }
            None if is_ack => Outcome::Acked,
            None => Outcome::Refused,
        };
        job.answer(outcome);
        false
    }
}

async fn send(channel: Channel, job: Job) -> (Job, lapin::Result<Confirmation>) {
    let options =
        BasicPublishOptions { mandatory: job.target.is_mandatory, ..BasicPublishOptions::default() };
    let Target { exchange, routing_key, .. } = job.target.clone();
    let published = publish(&channel, exchange, routing_key, options, &job).await;
    (job, published)
}

async fn publish(
    channel: &Channel,
    exchange: ShortString,
    routing_key: ShortString,
    options: BasicPublishOptions,
    job: &Job,
) -> lapin::Result<Confirmation> {
    let properties = job.properties.clone();
    channel.basic_publish(exchange, routing_key, options, &job.payload, properties).await?.await
}
