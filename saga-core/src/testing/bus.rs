use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::fault::{Harm, Plan, Sent};
use super::recorder::Recorder;
use crate::error::Error;
use crate::memory::{MemoryBus, lock};
use crate::ports::{
    Capabilities, Clock, DeadLetter, Declaration, Delivery, Disposition, EventBus, Health, Lag, Published,
    Settled, Settlement, Subscription, SubscriptionSpec,
};
use crate::record::Action;
use crate::wire::{Command, Message, attributes};

/// The in-memory bus, with faults for single steps, writing down announcements and dead letters.
#[derive(Debug)]
pub(super) struct TestBus {
    inner: MemoryBus,
    clock: Arc<dyn Clock>,
    plan: Arc<Plan>,
    recorder: Arc<Recorder>,
    /// Messages on their slow way.
    late: Mutex<JoinSet<()>>,
}

impl TestBus {
    pub(super) fn new(
        inner: MemoryBus,
        clock: Arc<dyn Clock>,
        plan: Arc<Plan>,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self { inner, clock, plan, recorder, late: Mutex::default() }
    }

    /// The copies of a message that are to be published now; others follow later.
    fn struck(&self, message: &Message) -> usize {
        let Some(sent) = sent(message) else { return 1 };
        let (mut copies, mut delay) = (1, Duration::ZERO);
        for harm in self.plan.strike(sent) {
            let struck = match harm {
                Harm::Lose => {
                    copies = 0;
                    "lost".to_owned()
                }
                Harm::Duplicate => {
                    copies *= 2;
                    "duplicated".to_owned()
                }
                Harm::Delay(by) => {
                    delay += by;
                    format!("delayed by {by:?}")
                }
            };
            let kind = if sent.is_reply { "reply" } else { "command" };
            self.recorder.struck(message, format!("{} {} {kind} {struck}", sent.step, sent.action));
        }
        if delay.is_zero() {
            return copies;
        }
        let (bus, clock, message) = (self.inner.clone(), Arc::clone(&self.clock), message.clone());
        let mut late = lock(&self.late);
        while late.try_join_next().is_some() {}
        late.spawn(async move {
            clock.sleep(delay).await;
            bus.publish(vec![message; copies]).await;
        });
        0
    }
}

#[async_trait]
impl EventBus for TestBus {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        self.inner.declare(declarations).await
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        let mut through = Vec::new();
        let mut copies = Vec::with_capacity(batch.len());
        for message in batch {
            if message.headers.get(attributes::TYPE) == Some("saga.announcement") {
                self.recorder.announced(&message);
            }
            let times = self.struck(&message);
            copies.push(times);
            through.extend(std::iter::repeat_n(message, times));
        }
        let mut answers = self.inner.publish(through).await.into_iter();
        // A message that was lost or delayed counts as sent: whoever sent it must not notice.
        copies
            .into_iter()
            .map(|times| answers.by_ref().take(times).last().unwrap_or(Published::Acked))
            .collect()
    }

    async fn publish_atomic(&self, batch: Vec<Message>) -> Published {
        self.inner.publish_atomic(batch).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        let group = Arc::clone(&spec.group);
        let inner = self.inner.subscribe(spec).await?;
        let (clock, recorder) = (Arc::clone(&self.clock), Arc::clone(&self.recorder));
        Ok(Arc::new(TestSubscription { inner, group, clock, recorder }))
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.inner.close(deadline).await
    }
}

/// What a message of a step is; `None` for other messages.
fn sent(message: &Message) -> Option<Sent<'_>> {
    let header = |name| message.headers.get(name);
    let is_reply = match header(attributes::TYPE)? {
        Command::TYPE => false,
        "saga.reply" => true,
        _ => return None,
    };
    Some(Sent {
        run: header(attributes::RUN)?,
        step: header(attributes::STEP)?,
        action: Action::from_name(header(attributes::ACTION)?)?,
        is_reply,
    })
}

#[derive(Debug)]
struct TestSubscription {
    inner: Arc<dyn Subscription>,
    group: Arc<str>,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
}

#[async_trait]
impl Subscription for TestSubscription {
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.inner.next(max).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Vec<Settled> {
        for settlement in &batch {
            if let Disposition::DeadLetter { reason } = &settlement.disposition {
                self.recorder.buried(DeadLetter {
                    message: settlement.message.clone(),
                    reason: reason.clone(),
                    group: Arc::clone(&self.group),
                    attempts: settlement.attempt,
                    at: self.clock.now(),
                });
            }
        }
        self.inner.settle(batch).await
    }

    fn set_in_flight_max(&self, in_flight_max: usize) {
        self.inner.set_in_flight_max(in_flight_max);
    }

    async fn lag(&self) -> Result<Lag, Error> {
        self.inner.lag().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
