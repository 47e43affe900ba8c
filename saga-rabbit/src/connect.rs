//! What everything of one bus shares, and how it ends.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lapin::Channel;
use saga_core::adapter::HealthBoard;
use saga_core::ports::TopicKind;
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::RabbitConfig;
use crate::error;
use crate::line::{GOODBYE, Line, Purpose};
use crate::publish::Publisher;
use crate::subscribe::Reading;

/// What everything of one bus shares.
pub(crate) struct Link {
    pub(crate) config: RabbitConfig,
    pub(crate) health: HealthBoard,
    pub(crate) publisher: Publisher,
    /// For reading, and for all that is asked: a server that is short of memory does not stop it.
    pub(crate) consuming: Line,
    publishing: Line,
    /// How many messages, and how many bytes, may still be sent without an answer.
    pub(crate) messages: Arc<Semaphore>,
    pub(crate) bytes: Arc<Semaphore>,
    /// How many bytes the headers of a message may have.
    pub(crate) headers_bytes_max: usize,
    /// Which kind the topics are that were published to or declared.
    kinds: Mutex<HashMap<Topic, TopicKind>>,
    closed: watch::Sender<bool>,
    /// Ends the tasks that keep the connections up.
    over: watch::Sender<bool>,
    readings: Mutex<Vec<Weak<Reading>>>,
}

impl Link {
    /// Connects, or says within `connect_timeout_ms` why not.
    pub(crate) async fn open(config: RabbitConfig) -> Result<Arc<Self>, Error> {
        config.check()?;
        let health = HealthBoard::default();
        let (over, is_over) = watch::channel(false);
        let open = |purpose| Line::open(&config, purpose, &health, is_over.clone());
        let (publishing, consuming) = tokio::try_join!(open(Purpose::Publish), open(Purpose::Consume))?;
        Ok(Arc::new(Self {
            publisher: Publisher::start(&publishing, config.publish_in_flight_max),
            headers_bytes_max: headers_bytes_max(&publishing),
            consuming,
            publishing,
            messages: Arc::new(Semaphore::new(config.publish_in_flight_max.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(config.publish_bytes_max.min(Semaphore::MAX_PERMITS))),
            config,
            health,
            kinds: Mutex::default(),
            closed: watch::Sender::new(false),
            over,
            readings: Mutex::default(),
        }))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(error::stopped()) } else { Ok(()) }
    }

    /// Does something on a channel of its own, since the server closes a channel to refuse. The inner error is what the server said.
    pub(crate) async fn ask<T, Fut>(
        &self,
        what: &str,
        work: impl FnOnce(Channel) -> Fut + Send,
    ) -> Result<Result<T, lapin::Error>, Error>
    where
        Fut: Future<Output = lapin::Result<T>> + Send,
        T: Send,
    {
        let asked = async {
            let connection = self.consuming.connection().await?;
            let failed = |error| error::of(error, format!("RabbitMQ did not answer about {what}"));
            let channel = connection.create_channel().await.map_err(failed)?;
            let answer = work(channel.clone()).await;
            match answer {
                Ok(answer) => {
                    // It need not be waited for, but what it gives back should be there for whoever asks next.
                    let _closed = channel.close(GOODBYE, "done".into()).await;
                    Ok(Ok(answer))
                }
                Err(error) if error::said(&error).is_some() => Ok(Err(error)),
                Err(error) => Err(failed(error)),
            }
        };
        let limit = self.config.request_timeout();
        timeout(limit, asked).await.unwrap_or_else(|_| Err(error::unanswered(what)))
    }

    pub(crate) fn kinds(&self) -> MutexGuard<'_, HashMap<Topic, TopicKind>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a reading in mind, for closing.
    pub(crate) fn remember(&self, reading: &Arc<Reading>) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|reading| reading.strong_count() > 0);
        readings.push(Arc::downgrade(reading));
    }

    /// The subscriptions of this process.
    pub(crate) fn readings(&self) -> Vec<Arc<Reading>> {
        let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.iter().filter_map(Weak::upgrade).collect()
    }

    /// Stops intake, lets what is delivered be settled, flushes, and lets go of the rest.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + deadline;
        let readings = self.readings();
        readings.iter().for_each(|reading| reading.close());
        self.closed.send_replace(true);
        let all = u32::try_from(self.config.publish_in_flight_max).unwrap_or(u32::MAX);
        let drained = async {
            for reading in &readings {
                reading.deliveries.settled().await;
            }
            let _permits = self.messages.acquire_many(all).await;
        };
        let is_drained = timeout_at(deadline, drained).await.is_ok();
        for reading in &readings {
            reading.leave();
        }
        let left = async {
            for reading in &readings {
                reading.left().await;
            }
            self.publishing.close().await;
            self.consuming.close().await;
        };
        let _late = timeout(deadline.saturating_duration_since(Instant::now()).max(LEAVE_MIN), left).await;
        self.over.send_replace(true);
        if is_drained {
            return Ok(());
        }
        let message = "RabbitMQ was closed at its deadline: what was unsettled is delivered again, what was unanswered may not be published";
        Err(Error::new(ErrorKind::Unknown, message))
    }
}

/// Giving deliveries back gets this much time even past the deadline: it is quick, and saves others the wait for it.
const LEAVE_MIN: Duration = Duration::from_millis(500);

/// The headers must fit into one frame, with what is added to dead letters, and what the server adds.
fn headers_bytes_max(line: &Line) -> usize {
    const ADDED: usize = 24 << 10;
    const FRAME_USUAL: usize = 128 << 10;
    let frame = line.up().map_or(FRAME_USUAL, |connection| connection.configuration().frame_max() as usize);
    frame.saturating_sub(ADDED).max(frame / 2)
}
