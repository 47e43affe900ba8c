use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::{Arrived, Taken};
use crate::error::ErrorKind;
use crate::wire::Message;

type Key = Arc<str>;

/// What is here, behind one lock that is taken once for a batch.
pub(super) struct State<H> {
    pub(super) in_flight_max: usize,
    pub(super) failure: Option<(ErrorKind, Arc<str>)>,
    ready: VecDeque<Item<H>>,
    /// Waiting for their retry, found by their number among those that are due when.
    waiting: HashMap<u64, Item<H>>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    in_flight: BTreeMap<u64, InFlight<H>>,
    /// Order per key: of each key here one message is out, and the others wait behind it.
    lanes: Option<HashMap<Key, VecDeque<Item<H>>>>,
    behind: usize,
    number: u64,
    closed: bool,
}

struct Item<H> {
    message: Message,
    attempt: u32,
    handle: H,
}

struct InFlight<H> {
    message: Message,
    attempt: u32,
    /// `None` while it is being settled.
    handle: Option<H>,
}

/// What the user finds.
pub(super) enum Next<T> {
    Some(T),
    /// Nothing to take, and when that changes by itself.
    None {
        due: Option<Instant>,
    },
    Failed(ErrorKind, Arc<str>),
    Closed,
}

impl<H> State<H> {
    pub(super) fn new(in_flight_max: usize, key_order: bool) -> Self {
        Self {
            in_flight_max,
            failure: None,
            ready: VecDeque::new(),
            waiting: HashMap::new(),
            due: BinaryHeap::new(),
            in_flight: BTreeMap::new(),
            lanes: key_order.then(HashMap::new),
            behind: 0,
            number: 0,
            closed: false,
        }
    }

    pub(super) fn arrive(&mut self, arrived: Arrived<H>) {
        let Arrived { message, attempt, handle } = arrived;
        let item = Item { message, attempt, handle };
        if let (Some(lanes), Some(key)) = (&mut self.lanes, &item.message.key) {
            if let Some(lane) = lanes.get_mut(key) {
                lane.push_back(item);
                self.behind += 1;
                return;
            }
            lanes.insert(Arc::clone(key), VecDeque::new());
        }
        self.ready.push_back(item);
    }

    /// One that waits from its arrival on holds up nobody, whatever its key.
    pub(super) fn wait(&mut self, arrived: Arrived<H>, due: Instant) {
        let Arrived { message, attempt, handle } = arrived;
        let number = self.next_number();
        self.waiting.insert(number, Item { message, attempt, handle });
        self.due.push(Reverse((due, number)));
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.waiting.len() + self.in_flight.len() + self.behind
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn take(&mut self, max: usize, now: Instant) -> Next<Vec<(u64, Message, u32)>> {
        if self.closed {
            return Next::Closed;
        }
        self.promote_due(now);
        let room = self.in_flight_max.saturating_sub(self.in_flight.len());
        let count = self.ready.len().min(max).min(room);
        if count == 0 {
            if let (true, Some((kind, message))) = (self.ready.is_empty(), &self.failure) {
                return Next::Failed(*kind, Arc::clone(message));
            }
            return Next::None { due: self.due.peek().map(|Reverse((due, _))| *due) };
        }
        let batch: Vec<_> = self.ready.drain(..count).collect();
        Next::Some(batch.into_iter().map(|item| self.deliver(item)).collect())
    }

    fn deliver(&mut self, item: Item<H>) -> (u64, Message, u32) {
        let Item { message, attempt, handle } = item;
        let token = self.next_number();
        self.in_flight.insert(token, InFlight { message: message.clone(), attempt, handle: Some(handle) });
        (token, message, attempt)
    }

    pub(super) fn handle(&mut self, token: u64) -> Option<H> {
        self.in_flight.get_mut(&token)?.handle.take()
    }

    /// Returns whether that may have made another ready.
    pub(super) fn done(&mut self, token: u64) -> bool {
        let was_full = self.in_flight.len() >= self.in_flight_max;
        // It may have been revoked while it was being settled.
        let Some(settled) = self.in_flight.remove(&token) else { return false };
        self.leave_lane(settled.message.key.as_ref()) || was_full
    }

    pub(super) fn again(&mut self, taken: Taken<H>, due: Instant) {
        let Some(InFlight { message, attempt, .. }) = self.in_flight.remove(&taken.token) else { return };
        let number = self.next_number();
        let attempt = attempt.saturating_add(1);
        self.waiting.insert(number, Item { message, attempt, handle: taken.handle });
        self.due.push(Reverse((due, number)));
    }

    pub(super) fn dropped(&mut self, token: u64, now: Instant) {
        if let Some(handle) = self.handle(token) {
            self.again(Taken { handle, token }, now);
        }
    }

    pub(super) fn revoke(&mut self, is_gone: impl Fn(&H) -> bool) {
        let mut freed = Vec::new();
        self.in_flight.retain(|_, held| {
            let gone = held.handle.as_ref().is_some_and(&is_gone);
            if gone {
                freed.push(held.message.key.clone());
            }
            !gone
        });
        self.withdraw(is_gone);
        for key in &freed {
            self.leave_lane(key.as_ref());
        }
    }

    pub(super) fn withdraw(&mut self, is_gone: impl Fn(&H) -> bool) {
        let mut freed = Vec::new();
        let mut keep = |item: &Item<H>| {
            let gone = is_gone(&item.handle);
            if gone {
                freed.push(item.message.key.clone());
            }
            !gone
        };
        self.ready.retain(&mut keep);
        self.waiting.retain(|_, item| keep(item));
        for lane in self.lanes.iter_mut().flat_map(HashMap::values_mut) {
            let before = lane.len();
            lane.retain(|item| !is_gone(&item.handle));
            self.behind -= before - lane.len();
        }
        for key in &freed {
            self.leave_lane(key.as_ref());
        }
    }

    pub(super) fn each(&self, visit: &mut impl FnMut(&H)) {
        let lanes = self.lanes.iter().flat_map(HashMap::values).flatten();
        let items = self.ready.iter().chain(self.waiting.values()).chain(lanes);
        items.map(|item| &item.handle).for_each(&mut *visit);
        self.in_flight.values().filter_map(|held| held.handle.as_ref()).for_each(visit);
    }

    pub(super) fn close(&mut self) -> Vec<H> {
        self.closed = true;
        let lanes = self.lanes.iter_mut().flat_map(HashMap::values_mut).flat_map(std::mem::take);
        let waiting = self.waiting.drain().map(|(_, item)| item);
        let returned = self.ready.drain(..).chain(waiting).chain(lanes).map(|item| item.handle).collect();
        self.behind = 0;
        self.due.clear();
        returned
    }

    fn promote_due(&mut self, now: Instant) {
        while let Some(Reverse((due, number))) = self.due.peek()
            && *due <= now
        {
            // One that was revoked is not here any more.
            if let Some(item) = self.waiting.remove(number) {
                self.ready.push_back(item);
            }
            self.due.pop();
        }
    }

    /// A message of this key has left: the next one is ready, if there is one.
    fn leave_lane(&mut self, key: Option<&Key>) -> bool {
        let (Some(lanes), Some(key)) = (&mut self.lanes, key) else { return false };
        let next = lanes.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            lanes.remove(key);
        }
        let is_one_ready = next.is_some();
        self.behind -= usize::from(is_one_ready);
        self.ready.extend(next);
        is_one_ready
    }

    const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}
