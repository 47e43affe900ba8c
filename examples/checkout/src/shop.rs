//! The shop in a process of its own: places orders on the topic and hears on other topics how they came out. It coordinates nothing, and
//! needs no more of the library than the bus.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use saga::ports::{
    Declaration, EventBus, Group, GroupStart, Published, Subscription, SubscriptionSpec, TopicKind,
};
use saga::record::Topic;
use saga::wire::Message;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::args::Args;
use crate::bus::Bus;
use crate::checkout::{COORDINATORS, ORDER_ABANDONED, ORDER_COMPLETE, ORDER_PLACED, ORDER_ROLLED_BACK};
use crate::lines::{Line, Lines};
use crate::order::Order;
use crate::progress::with_trouble;
use crate::report::Report;
use crate::show::{Screen, Tone};
use crate::tally::{Tally, grouped};
use crate::trouble::Troubles;

type Failure = Box<dyn StdError + Send + Sync>;

/// How many orders wait for their outcome at once. The rest of the file is not read before there is room, and each publish waits for the
/// broker: a file longer than memory is no problem, nor a slow broker.
const UNDER_WAY_MAX: usize = 256;
/// An order without an outcome for so long is placed again. The same order twice is one purchase, so this is safe.
const PLACE_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long the shop waits before it tries a broker again that is away.
const BUS_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The group as which the shop reads what is announced. A second shop needs another one.
const GROUP: &str = "shop";

struct Shop {
    bus: Arc<dyn EventBus>,
    troubles: Troubles,
    screen: Screen,
    state: Mutex<State>,
    /// An order has ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    under_way: HashMap<String, UnderWay>,
    completed: Vec<String>,
    tally: Tally,
}

struct UnderWay {
    order: Order,
    line: Vec<u8>,
    first_placed: Instant,
    placed: Instant,
}

/// Places the orders and returns when all have ended: its report, and whether they ended as they should.
pub(crate) async fn run(
    args: Args,
    lines: Lines,
    screen: Screen,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<(Report, bool), Failure> {
    let bus = Bus::open(&args.bus).await?.events;
    let troubles = Troubles::new(args.plan, false);
    let shop = Arc::new(Shop { bus, troubles, screen, state: Mutex::default(), ended: Notify::new() });
    for (topic, became) in [
        (ORDER_COMPLETE, Became::Completed),
        (ORDER_ROLLED_BACK, Became::RolledBack),
        (ORDER_ABANDONED, Became::Abandoned),
    ] {
        // Before the first order is placed: no outcome can be missed.
        let subscription = subscribe(&*shop.bus, topic).await?;
        tokio::spawn(Arc::clone(&shop).hear(subscription, became));
    }
    tokio::spawn(Arc::clone(&shop).place_again());
    let begun = Instant::now();
    tokio::select! {
        placed = shop.place_all(lines) => placed?,
        () = interrupted => shop.state().tally.fault("interrupted before all orders had ended".to_owned()),
        () = shop.show_progress(begun) => {}
    }
    Ok(shop.close(begun.elapsed()))
}

async fn subscribe(bus: &dyn EventBus, topic: &str) -> Result<Arc<dyn Subscription>, saga::Error> {
    let topic = Topic::new(topic).expect("it is a name");
    let group = |name: &str| vec![Group { name: name.into(), start: GroupStart::Earliest }];
    let declaration = Declaration { topic: topic.clone(), kind: TopicKind::Events, groups: group(GROUP) };
    let orders = Topic::new(ORDER_PLACED).expect("it is a name");
    // The coordinators may not be there yet, and RabbitMQ keeps an order only for groups that it knows.
    let orders = Declaration { topic: orders, kind: TopicKind::Events, groups: group(COORDINATORS) };
    bus.declare(&[declaration, orders]).await?;
    let spec = SubscriptionSpec { topic, group: GROUP.into(), in_flight_max: 1_024, key_order: false };
    bus.subscribe(spec).await
}

/// How an order came out, by the topic that says so.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Became {
    Completed,
    RolledBack,
    Abandoned,
}

/// What every announcement says.
#[derive(Deserialize)]
struct Announced {
    order_id: String,
}

impl Shop {
    async fn place_all(&self, mut lines: Lines) -> Result<(), Failure> {
        while let Some(line) = lines.next().await? {
            let number = line.number;
            match line.order() {
                Ok(order) => self.place(line, order).await?,
                Err(reason) => {
                    self.screen.verdict(Tone::Bad, format_args!("line {number}: {reason}"));
                    self.state().tally.bad_lines += 1;
                    // As it is: the coordinator's codec refuses it, and it ends with the dead letters.
                    self.publish(None, &line.into_evidence()).await?;
                }
            }
            self.wait_until(|state| state.under_way.len() < UNDER_WAY_MAX).await;
        }
        self.wait_until(|state| state.under_way.is_empty()).await;
        Ok(())
    }

    async fn place(&self, line: Line, order: Order) -> Result<(), Failure> {
        let (id, bytes, now) = (order.order_id.clone(), line.into_evidence(), Instant::now());
        // Of two lines with one id the first is the purchase; the second is placed when that has ended.
        self.wait_until(|state| !state.under_way.contains_key(&id)).await;
        {
            let mut state = self.state();
            if state.completed.contains(&id) {
                state.tally.repeated += 1;
                return Ok(());
            }
            let under_way = UnderWay { order, line: bytes.clone(), first_placed: now, placed: now };
            state.under_way.insert(id.clone(), under_way);
        }
        self.screen.happened(ORDER_PLACED, Tone::Plain, &id);
        self.publish(Some(&id), &bytes).await
    }

    /// Returns once the broker has it, however long that takes.
    async fn publish(&self, id: Option<&str>, line: &[u8]) -> Result<(), Failure> {
        let mut message = Message::new(Topic::new(ORDER_PLACED).expect("it is a name"), line.to_vec());
        message.key = id.map(Into::into);
        loop {
            match self.bus.publish(vec![message.clone()]).await.pop() {
                Some(Published::Acked) => return Ok(()),
                Some(Published::Rejected(error)) if !error.is_retryable() => return Err(error.into()),
                Some(Published::Rejected(_) | Published::Unknown(_)) | None => {
                    tokio::time::sleep(BUS_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Places orders again that nothing was heard of, so that none is waited for in vain.
    async fn place_again(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PLACE_AGAIN_AFTER / 10).await;
            let now = Instant::now();
            let mut overdue = Vec::new();
            for (id, order) in &mut self.state().under_way {
                if now.duration_since(order.placed) >= PLACE_AGAIN_AFTER {
                    order.placed = now;
                    overdue.push((id.clone(), order.line.clone()));
                }
            }
            for (id, line) in overdue {
                if let Err(error) = self.publish(Some(&id), &line).await {
                    self.state().tally.fault(format!("order {id} cannot be placed again: {error}"));
                }
            }
        }
    }

    /// Hears what has become of orders, those of others included.
    async fn hear(self: Arc<Self>, subscription: Arc<dyn Subscription>, became: Became) {
        loop {
            let deliveries = match subscription.next(256).await {
                Ok(deliveries) => deliveries,
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(BUS_RETRY_DELAY).await;
                    continue;
                }
                Err(error) => {
                    return self.state().tally.fault(format!("outcomes can no longer be read: {error}"));
                }
            };
            let mut settled = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                settled.push(match delivery.message.payload.parse::<Announced>() {
                    Ok(Announced { order_id }) => {
                        self.ended(&order_id, became);
                        delivery.ack()
                    }
                    Err(error) => delivery.dead_letter(format!("it says nothing of an order: {error}")),
                });
            }
            let _stale_ones_come_again = subscription.settle(settled).await;
        }
    }

    fn ended(&self, order_id: &str, became: Became) {
        let mut state = self.state();
        let Some(UnderWay { order, first_placed, .. }) = state.under_way.remove(order_id) else { return };
        let was_to_fail = self.troubles.spoil(order_id);
        state.tally.latencies.add(first_placed.elapsed());
        if became == Became::Completed {
            state.tally.complete(&order);
            state.completed.push(order_id.to_owned());
        } else {
            state.tally.roll_back("the checkout says so");
        }
        if became == Became::Abandoned || (became == Became::Completed) == was_to_fail {
            state.tally.fault(format!("order {order_id} should not have ended as {became:?}"));
        }
        drop(state);
        self.screen.happened("shop", Tone::Plain, format_args!("order {order_id} has ended: {became:?}"));
        self.ended.notify_one();
    }

    /// Only the one task that places orders waits here.
    async fn wait_until(&self, is_so: impl Fn(&State) -> bool) {
        while !is_so(&self.state()) {
            self.ended.notified().await;
        }
    }

    async fn show_progress(&self, begun: Instant) {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let progress = self.state().tally.progress(begun.elapsed());
            self.screen.progress(with_trouble(progress, &*self.bus));
        }
    }

    fn close(&self, took: Duration) -> (Report, bool) {
        let mut state = self.state();
        state.tally.all_ended = Some(took);
        let bad_lines = state.tally.bad_lines;
        for line in state.tally.summary(usize::try_from(bad_lines).unwrap_or(usize::MAX)) {
            self.screen.line(line);
        }
        let faults = state.tally.faults();
        faults.iter().for_each(|fault| self.screen.verdict(Tone::Bad, format_args!("wrong: {fault}")));
        let completed = std::mem::take(&mut state.completed);
        let report = Report::of_shop(completed, state.tally.rolled_back, &state.tally.sales);
        self.screen.line(format_args!("{} orders have ended", grouped(state.tally.orders())));
        (report, faults.is_empty() && bad_lines == 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
