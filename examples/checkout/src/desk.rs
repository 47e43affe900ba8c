//! The desk where orders are placed, and followed until they have ended.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use saga::coordinator::{Outcome, Sagas, StartError};
use saga::ports::{Declaration, EventBus, Published, TopicKind};
use saga::record::{Status, Topic};
use saga::wire::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::books::{Books, Failure};
use crate::callback::CompletionCall;
use crate::checkout::ORDER_PLACED;
use crate::lines::{Line, Lines};
use crate::order::{Cents, Order};
use crate::show::{Screen, Tone};
use crate::tally::Tally;
use crate::trouble::Troubles;

/// How many orders are under way at once. The rest of the file is not read before there is room.
const UNDER_WAY_MAX: usize = 64;
/// How often an order that waits for an operator is looked at, and a log that is away asked again.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Desk {
    pub(crate) sagas: Sagas<Order>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) books: Books,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) call: CompletionCall,
    pub(crate) screen: Screen,
    pub(crate) tally: Mutex<Tally>,
    /// The ids of orders that are being placed now.
    pub(crate) placing: watch::Sender<HashSet<String>>,
}

impl Desk {
    /// Makes sure that the topic of the orders is there: whoever publishes may be the first to come.
    pub(crate) async fn declare(&self) -> Result<(), saga::Error> {
        let orders = Declaration { topic: topic(), kind: TopicKind::Events, groups: Vec::new() };
        self.bus.declare(&[orders]).await
    }

    /// Places every order, and returns when all have ended or are parked.
    pub(crate) async fn place_all(self: &Arc<Self>, mut lines: Lines) -> io::Result<()> {
        let mut under_way = JoinSet::new();
        while let Some(line) = lines.next().await? {
            match line.order() {
                Ok(order) => {
                    self.turn(&order.order_id).await;
                    under_way.spawn(Arc::clone(self).place(line, order));
                }
                Err(reason) => self.refuse(line, &reason).await,
            }
            if under_way.len() >= UNDER_WAY_MAX {
                under_way.join_next().await.expect("one is there").expect("placing an order does not panic");
            }
        }
        under_way.join_all().await;
        Ok(())
    }

    /// Of two lines with one id the first is the purchase: the second is placed when the first one has been.
    async fn turn(&self, order_id: &str) {
        let mut placing = self.placing.subscribe();
        // The sender is here, so there is no other end than the one waited for.
        drop(placing.wait_for(|placing| !placing.contains(order_id)).await);
        self.placing.send_modify(|placing| {
            placing.insert(order_id.to_owned());
        });
    }

    async fn place(self: Arc<Self>, line: Line, order: Order) {
        let id = &order.order_id;
        let items = order.quantities();
        self.screen.happened(
            ORDER_PLACED,
            Tone::Plain,
            format_args!("{id} by {}: {items} for {}", order.customer_id, Cents(order.price_cents())),
        );
        let placed_at = Instant::now();
        let started = self.sagas.start(id, &order).await;
        // Of an earlier run it can only be where the books last.
        let is_remembered = started.is_ok() && self.books.remember(id);
        self.placing.send_modify(|placing| {
            placing.remove(id);
        });
        match started {
            Ok(started) if started.is_new => return self.follow(&order, placed_at).await,
            Ok(_) => {
                self.tally().repeated += 1;
                if is_remembered {
                    self.follow_earlier(&order).await;
                }
            }
            Err(error @ StartError::InputDiffers { .. }) => self.refuse(line, &error.to_string()).await,
            Err(error) => self.tally().fault(format!("line {}: {error}", line.number)),
        }
    }

    async fn follow(&self, order: &Order, placed_at: Instant) {
        let followed = async {
            let outcome = self.outcome(&order.order_id).await?;
            self.ended(order, &outcome, placed_at.elapsed()).await
        };
        if let Err(error) = followed.await {
            self.tally().fault(format!("order {}: {error}", order.order_id));
        }
    }

    /// An order of an earlier run, which may have been cut short: the books must be right about it, too.
    async fn follow_earlier(&self, order: &Order) {
        let followed = async {
            let is_completed = self.outcome(&order.order_id).await?.is_completed();
            let (wrong, _) = self.books.close(order, is_completed).await?;
            let mut tally = self.tally();
            wrong.into_iter().for_each(|wrong| tally.fault(wrong));
            if is_completed {
                tally.sales.add(order);
            }
            Ok::<_, Failure>(())
        };
        if let Err(error) = followed.await {
            self.tally().fault(format!("order {}: {error}", order.order_id));
        }
    }

    /// How it ended, or that it is parked where nobody is to mend it.
    async fn outcome(&self, id: &str) -> Result<Outcome, saga::Error> {
        let mut was_parked = false;
        loop {
            let outcome = match self.sagas.outcome(id).await {
                // The log is away, which says nothing of the order.
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                    continue;
                }
                outcome => outcome?,
            };
            if outcome.status != Status::Parked || !self.troubles.needs_operator(id) {
                return Ok(outcome);
            }
            if !was_parked {
                let text = format!("order {id} is parked and waits for an operator: saga show checkout/{id}");
                self.screen.verdict(Tone::Bad, text);
                was_parked = true;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn ended(&self, order: &Order, outcome: &Outcome, time: Duration) -> Result<(), Failure> {
        let id = &order.order_id;
        let was_to_fail = self.troubles.spoil(id);
        let reason = outcome.reason.as_deref().unwrap_or("no reason is known");
        let is_completed = outcome.is_completed();
        let is_parked = outcome.status == Status::Parked;
        let (wrong, was_refused) =
            if is_parked { Default::default() } else { self.books.close(order, is_completed).await? };
        let mut tally = self.tally();
        tally.latencies.add(time);
        if is_parked {
            tally.parked += 1;
            tally.fault(format!("order {id} is parked: {reason}"));
            return Ok(());
        }
        wrong.into_iter().for_each(|wrong| tally.fault(wrong));
        let ms = time.as_millis();
        if is_completed {
            tally.complete(order);
            self.call.expect(id);
            self.screen.happened("checkout", Tone::Good, format_args!("order {id} completed"));
        } else {
            tally.roll_back(reason);
            self.screen.happened("checkout", Tone::Undone, format_args!("order {id} rolled back: {reason}"));
        }
        if is_completed == (was_to_fail || was_refused) {
            let status = outcome.status;
            tally.fault(format!("order {id} should not have ended as {status} after {ms} ms: {reason}"));
        }
        Ok(())
    }

    /// Reports a bad line and publishes it as it is: what the trigger's codec cannot read, or the coordinator refuses, ends with the
    /// dead letters of the topic, where it can be looked at.
    async fn refuse(&self, line: Line, reason: &str) {
        let number = line.number;
        self.screen.verdict(Tone::Bad, format_args!("line {number}: {reason}"));
        self.tally().bad_lines += 1;
        let message = Message::new(topic(), line.into_evidence());
        for published in self.bus.publish(vec![message]).await {
            if let Published::Rejected(error) | Published::Unknown(error) = published {
                self.tally().fault(format!("line {number} did not reach the dead letters: {error}"));
            }
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn topic() -> Topic {
    Topic::new(ORDER_PLACED).expect("it is a name")
}
