//! One contract's task. It owns everything that is under way; reading, claiming, completing and sending go on beside each other and
//! beside the handlers, each in batches of what has gathered meanwhile.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::attempt::{Attempt, End, Errand};
use super::receive::{Claimed, Job};
use super::reply::{Outgoing, Stored};
use super::serve::{Served, Shared};
use crate::error::Error;
use crate::ports::{Delivery, Settlement, Subscription};
use crate::record::Payload;

/// How long a shutdown may still take once the handlers are over, for storing and sending what they ended with.
const SETTLE_MAX: Duration = Duration::from_secs(2);

pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) served: Arc<Served>,
    pub(super) subscription: Arc<dyn Subscription>,
    /// The step of the last command.
    pub(super) step: Option<Arc<str>>,
    /// Received, not claimed.
    pub(super) waiting: VecDeque<Box<Job>>,
    pub(super) running: FuturesUnordered<Box<Attempt>>,
    /// Run, not completed.
    pub(super) ended: Vec<(Errand, End)>,
    /// To be published, and settled after that.
    pub(super) outgoing: Vec<Outgoing>,
    /// To be settled.
    pub(super) settlements: Vec<Settlement>,
    /// Everything under way but the handlers.
    work: FuturesUnordered<BoxFuture<'static, Happening>>,
    pub(super) is_reading: bool,
    /// Whether the last read failed, so that a failure is logged once.
    pub(super) is_failing: bool,
    /// The same for the inbox.
    pub(super) is_inbox_away: bool,
    /// How many claims are under way.
    pub(super) claiming: usize,
    pub(super) is_completing: bool,
    pub(super) sends: usize,
    /// Why it cannot go on, if it cannot.
    pub(super) failure: Option<Error>,
    stage: Stage,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// No more commands; handlers may finish.
    Draining,
    /// The handlers that did not finish are dropped; what is left is stored, sent and settled.
    Settling,
    /// Time is up.
    Over,
}

/// What the worker waits for.
pub(super) enum Happening {
    Read(Result<Vec<Delivery>, Error>),
    /// It is time to try again what failed.
    ReadAgain,
    Claimed(Claimed),
    Completed(Stored),
    Sent,
    Closed,
    TimeUp(Stage),
}

impl Worker {
    pub(super) fn new(shared: Shared, served: Served, subscription: Arc<dyn Subscription>) -> Self {
        Self {
            shared,
            served: Arc::new(served),
            subscription,
            step: None,
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            ended: Vec::new(),
            outgoing: Vec::new(),
            settlements: Vec::new(),
            work: FuturesUnordered::new(),
            is_reading: false,
            is_failing: false,
            is_inbox_away: false,
            claiming: 0,
            is_completing: false,
            sends: 0,
            failure: None,
            stage: Stage::Serving,
        }
    }

    pub(super) async fn run(mut self, mut stop: impl Future<Output = ()> + Unpin) -> Result<(), Error> {
        while !self.is_over() {
            self.read();
            self.claim();
            self.complete();
            self.send();
            tokio::select! {
                biased;
                () = &mut stop, if !self.is_draining() => self.drain(),
                Some(happening) = self.work.next() => self.happened(happening),
                Some(ended) = self.running.next() => self.ended.push(ended),
            }
            // Whatever else has happened meanwhile goes into the same batches.
            while let Some(Some(happening)) = self.work.next().now_or_never() {
                self.happened(happening);
            }
            while let Some(Some(ended)) = self.running.next().now_or_never() {
                self.ended.push(ended);
            }
        }
        self.failure.map_or(Ok(()), Err)
    }

    pub(super) const fn is_draining(&self) -> bool {
        !matches!(self.stage, Stage::Serving)
    }

    pub(super) fn begin(&self, work: impl Future<Output = Happening> + Send + 'static) {
        self.work.push(work.boxed());
    }

    /// Runs the user's code on an errand.
    pub(super) fn run_code(&mut self, errand: Errand, output: Option<Payload>, time_limit: Duration) {
        match Attempt::begin(errand, output, &self.served.handler, &self.shared.clock, time_limit) {
            Ok(ended) => self.ended.push(ended),
            Err(running) if self.stage < Stage::Settling => self.running.push(running),
            Err(mut running) => self.ended.extend(running.cut_off()),
        }
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Read(result) => self.has_read(result),
            Happening::ReadAgain => self.is_reading = false,
            Happening::Claimed(claimed) => self.has_claimed(claimed),
            Happening::Completed(stored) => self.has_completed(stored),
            Happening::Sent => self.sends -= 1,
            // Not before: dropped while it still reads, they would be delivered here once more.
            Happening::Closed => self.waiting.clear(),
            Happening::TimeUp(next) => self.time_up(next),
        }
    }

    /// Takes no more commands. Those that wait were never claimed: dropped, they are delivered again, to whoever serves on.
    pub(super) fn drain(&mut self) {
        self.stage = Stage::Draining;
        let subscription = Arc::clone(&self.subscription);
        self.begin(async move {
            subscription.close().await;
            Happening::Closed
        });
        self.time_up_after(self.served.options.drain_max, Stage::Settling);
    }

    fn time_up_after(&self, time: Duration, next: Stage) {
        let clock = Arc::clone(&self.shared.clock);
        self.begin(async move {
            clock.sleep(time).await;
            Happening::TimeUp(next)
        });
    }

    fn time_up(&mut self, next: Stage) {
        self.stage = next;
        if next == Stage::Settling {
            let running = std::mem::take(&mut self.running);
            if !running.is_empty() {
                tracing::warn!(topic = %self.served.topic, handlers = running.len(), "handlers did not finish in time and were dropped");
            }
            // Told of it, the barrier lets others have the rows at once instead of after the hold.
            self.ended.extend(running.into_iter().filter_map(|mut attempt| attempt.cut_off()));
            self.time_up_after(SETTLE_MAX, Stage::Over);
        }
    }

    /// Whether a shutdown has nothing left to wait for.
    fn is_over(&self) -> bool {
        let is_idle = self.waiting.is_empty()
            && self.running.is_empty()
            && self.claiming == 0
            && !self.is_completing
            && self.ended.is_empty()
            && self.sends == 0
            && self.outgoing.is_empty()
            && self.settlements.is_empty();
        self.stage == Stage::Over || (self.is_draining() && is_idle)
    }
}
