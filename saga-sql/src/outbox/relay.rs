use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use saga_core::ports::{EventBus, Published};
use saga_core::record::{Retry, RunId};
use saga_core::{Error, ErrorKind, Message};
use sqlx::Database;
use tokio::time::Instant;

use super::rows::{ClaimedRow, Settling, Take, message_of};
use super::{Outbox, OutboxDatabase};
use crate::error::told;

/// How soon after something happened the outbox is looked at again; then twice as late each time, up to the poll interval. Who puts a
/// message in commits soon after.
const EAGER: Duration = Duration::from_millis(1);

/// A relay's named limits and intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// How often the outbox is looked at when nobody says that there is something. Default 500 ms.
    pub poll_interval: Duration,
    /// For how long rows are claimed; those of a relay that died are free after that. Publishing is cut off well before. Default 15 s.
    pub claim_time: Duration,
    /// How many keys are claimed at once. Default 512.
    pub lanes_max: u32,
    /// How many messages of one key are claimed at once; they are published one after the other. Default 64.
    pub per_lane_max: u32,
    /// How long to wait after a message could not be published, at first. Default 100 ms.
    pub retry_delay_first: Duration,
    /// How long to wait at most. Default 10 s.
    pub retry_delay_max: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(500),
            claim_time: Duration::from_secs(15),
            lanes_max: 512,
            per_lane_max: 64,
            retry_delay_first: Duration::from_millis(100),
            retry_delay_max: Duration::from_secs(10),
        }
    }
}

/// Publishes what is in an outbox. Made by [`Outbox::relay`].
pub struct Relay<DB: Database> {
    outbox: Outbox<DB>,
    bus: Arc<dyn EventBus>,
    options: RelayOptions,
}

impl<DB: OutboxDatabase> Relay<DB> {
    pub(super) fn new(outbox: Outbox<DB>, bus: Arc<dyn EventBus>) -> Self {
        Self { outbox, bus, options: RelayOptions::default() }
    }

    /// With other limits than the usual ones.
    #[must_use]
    pub fn with(mut self, options: RelayOptions) -> Self {
        self.options = options;
        self
    }

    /// Publishes until `shutdown` resolves; what is under way then is finished first.
    ///
    /// Waits for a bus or a database that is away. A topic that is not there is waited for, too: whoever reads it declares it.
    ///
    /// Dropping the future stops at once: what was claimed is free after [`claim_time`](RelayOptions::claim_time), and may be published twice.
    ///
    /// # Errors
    /// What the database refuses for good, for example because a permission is missing.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let listening = DB::listen(self.outbox.pool.clone(), Arc::clone(&self.outbox.nudge));
        let shutdown = pin!(shutdown);
        tokio::select! {
            result = self.work(shutdown) => result,
            () = async { listening.await; std::future::pending().await } => unreachable!("it never ends"),
        }
    }

    async fn work(&self, mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>) -> Result<(), Error> {
        let mut after = String::new();
        let mut eager = Some(EAGER);
        let mut is_failing = false;
        loop {
            if shutdown.as_mut().now_or_never().is_some() {
                return Ok(());
            }
            let is_whole = after.is_empty();
            match self.round(&mut after).await {
                Ok(0) if is_whole => is_failing = false,
                Ok(_) => {
                    is_failing = false;
                    eager = Some(EAGER);
                    continue;
                }
                Err(error) if error.is_retryable() => {
                    if !is_failing {
                        tracing::warn!(%error, "the outbox cannot be relayed; trying on");
                    }
                    (is_failing, eager) = (true, None);
                }
                Err(error) => return Err(error),
            }
            let pause = eager.unwrap_or(self.options.poll_interval);
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                () = self.outbox.nudge.notified() => eager = Some(EAGER),
                () = tokio::time::sleep(pause) => {
                    eager = eager.map(|eager| eager * 2).filter(|eager| *eager < self.options.poll_interval);
                }
            }
        }
    }

    /// Claims what is free, from a lane on, and publishes it; how much that was. The next round goes on where this one ended, so that no lane
    /// is left behind by busier ones.
    async fn round(&self, after: &mut String) -> Result<usize, Error> {
        let began = Instant::now();
        let take = Take {
            claim: RunId::random().to_string(),
            after: std::mem::take(after),
            lanes_max: self.options.lanes_max.max(1),
            per_lane_max: self.options.per_lane_max.max(1),
            ttl_ms: i64::try_from(self.options.claim_time.as_millis()).unwrap_or(i64::MAX / 4),
        };
        let what = "the outbox cannot be asked for messages";
        let claim = DB::claim(&self.outbox.pool, &take, self.outbox.now());
        let claimed = self.limit(what, claim).await?;
        let count = claimed.len();
        let mut lanes = BTreeMap::<String, VecDeque<ClaimedRow>>::new();
        for row in claimed {
            lanes.entry(row.row.lane.clone()).or_default().push_back(row);
        }
        if lanes.len() >= take.lanes_max as usize
            && let Some((last, _)) = lanes.last_key_value()
        {
            after.clone_from(last);
        }
        let mut lanes: Vec<_> = lanes.into_values().collect();
        for lane in &mut lanes {
            lane.make_contiguous().sort_by_key(|row| row.number);
        }
        self.publish(take.claim, lanes, began).await?;
        Ok(count)
    }

    /// Publishes wave by wave: of each lane the first message, then the second, as long as all goes well with it. The wave before is marked
    /// meanwhile.
    async fn publish(
        &self,
        claim: String,
        mut lanes: Vec<VecDeque<ClaimedRow>>,
        began: Instant,
    ) -> Result<(), Error> {
        let settling = || Settling { claim: claim.clone(), ..Settling::default() };
        let mut settled = settling();
        while !lanes.is_empty() {
            if began.elapsed() > self.options.claim_time / 2 {
                break;
            }
            let mut next = settling();
            let wave: Vec<_> = lanes.iter_mut().map(VecDeque::pop_front).collect();
            let (tried, messages) = readable(wave, &mut next);
            let publish = tokio::time::timeout(self.options.claim_time / 4, self.bus.publish(messages));
            let (answers, marked) = tokio::join!(publish, self.settle(settled));
            marked?;
            let Ok(answers) = answers else {
                // They may still get there: until the claim has run out, nobody publishes what comes after them.
                tracing::warn!("the bus takes no messages from the outbox; trying on");
                return self.settle(next).await;
            };
            let mut goes_on = vec![false; lanes.len()];
            let mut answers = answers.into_iter();
            for (at, row) in tried {
                let silent = || Published::Unknown(Error::new(ErrorKind::Unknown, "the bus gave no answer"));
                goes_on[at] = self.answered(&row, answers.next().unwrap_or_else(silent), &mut next);
            }
            settled = next;
            let mut goes_on = goes_on.into_iter();
            lanes.retain_mut(|lane| {
                let goes_on = goes_on.next().is_some_and(|goes_on| goes_on);
                if !goes_on {
                    settled.untried.extend(lane.drain(..).map(|row| row.number));
                }
                !lane.is_empty()
            });
        }
        settled.untried.extend(lanes.into_iter().flatten().map(|row| row.number));
        self.settle(settled).await
    }

    /// Notes what the bus said of a message; whether what comes after it may follow.
    fn answered(&self, row: &ClaimedRow, answer: Published, settling: &mut Settling) -> bool {
        let (topic, id) = (&row.row.topic, &row.row.id);
        match answer {
            Published::Acked => settling.published.push(row.number),
            Published::Rejected(error) if is_final(&error) => {
                tracing::error!(%topic, %id, %error, "the bus refuses a message of the outbox; it stays, and its key waits");
                settling.refused.push((row.number, error.to_string()));
                return false;
            }
            Published::Rejected(error) | Published::Unknown(error) => {
                if row.attempts == 0 {
                    tracing::warn!(%topic, %id, %error, "a message of the outbox cannot be published; trying on");
                }
                let retry =
                    Retry::FOREVER.delays(self.options.retry_delay_first, self.options.retry_delay_max);
                let delay = retry.delay(u32::try_from(row.attempts + 1).unwrap_or(u32::MAX));
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 4);
                settling.failed.push((row.number, delay_ms, error.to_string()));
                return false;
            }
        }
        true
    }

    async fn settle(&self, settling: Settling) -> Result<(), Error> {
        let Settling { published, untried, failed, refused, .. } = &settling;
        if published.is_empty() && untried.is_empty() && failed.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let what = "the outbox cannot be told what was published";
        self.limit(what, DB::settle(&self.outbox.pool, &settling, self.outbox.now())).await
    }

    /// A database that does not answer within the claim is away.
    async fn limit<T>(&self, what: &str, work: impl Future<Output = sqlx::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.options.claim_time, work).await {
            Ok(result) => result.map_err(|error| told(what, error)),
            Err(_) => Err(Error::new(ErrorKind::Unknown, format!("{what}: the database does not answer"))),
        }
    }
}

/// A wave's rows by their lanes, and their messages; what cannot be read is refused.
fn readable(
    wave: Vec<Option<ClaimedRow>>,
    settling: &mut Settling,
) -> (Vec<(usize, ClaimedRow)>, Vec<Message>) {
    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for (at, row) in wave.into_iter().enumerate() {
        let Some(row) = row else { continue };
        match message_of(row.clone()) {
            Ok(message) => {
                rows.push((at, row));
                messages.push(message);
            }
            Err(error) => {
                tracing::error!(%error, "a message of the outbox cannot be read; it stays");
                settling.refused.push((row.number, error.to_string()));
            }
        }
    }
    (rows, messages)
}

/// Whether waiting will not help. A topic that is not there may still be declared.
const fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Permanent | ErrorKind::NotAllowed)
}

impl<DB: Database> fmt::Debug for Relay<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("outbox", &self.outbox)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
