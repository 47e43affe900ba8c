use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::in_flight::{Held, InFlight};
use super::lanes::Lanes;
use crate::ports::{
    Clock, Delivery, Disposition, GroupDescription, GroupMember, Lag, Receipt, ReceiptHome, SubscriptionSpec,
};
use crate::record::Timestamp;
use crate::wire::Message;

/// Room for this many messages is kept when a queue has run empty; a larger backlog's memory is given back.
const IDLE_CAPACITY_MAX: usize = 65_536;

/// What a group has not settled yet.
pub(super) struct GroupState {
    /// `None` for the one group of a commands topic before it is declared.
    pub(super) name: Option<Arc<str>>,
    /// Ready for the first time, in the order they came.
    fresh: VecDeque<Queued>,
    /// Ready again. Taken in turns with the fresh ones, so that neither holds up the other.
    again: VecDeque<Queued>,
    again_was_last: bool,
    /// Waiting for their retry.
    delayed: BinaryHeap<Reverse<Delayed>>,
    delayed_count: u64,
    /// Order per key, from the first subscription that asks for it.
    lanes: Option<Lanes>,
    in_flight: InFlight,
    members: Vec<MemberState>,
}

/// A message on its way to a group.
#[derive(Clone)]
pub(super) struct Queued {
    pub(super) message: Message,
    /// How often it was delivered.
    pub(super) attempts: u32,
    pub(super) published_at: Timestamp,
}

struct Delayed {
    due: Timestamp,
    /// Those due together keep their order.
    nth: u64,
    queued: Queued,
}

struct MemberState {
    id: u32,
    in_flight: usize,
    in_flight_max: usize,
    closed: bool,
}

/// What a member found.
pub(super) enum Taken {
    Some(Vec<Delivery>),
    /// Nothing to take, and when that changes by itself.
    None {
        due: Option<Timestamp>,
    },
    /// The member is closed or gone.
    Closed,
}

/// A delivery that was given up, to be put with the dead letters.
pub(super) struct GivenUp {
    pub(super) queued: Queued,
    pub(super) reason: String,
}

impl GroupState {
    pub(super) fn new(name: Option<Arc<str>>, salt: u32) -> Self {
        Self {
            name,
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            again_was_last: false,
            delayed: BinaryHeap::new(),
            delayed_count: 0,
            lanes: None,
            in_flight: InFlight::new(salt),
            members: Vec::new(),
        }
    }

    /// How many messages are held for this group and not with a consumer.
    pub(super) fn waiting(&self) -> usize {
        let blocked = self.lanes.as_ref().map_or(0, Lanes::waiting);
        self.fresh.len() + self.again.len() + self.delayed.len() + blocked
    }

    /// Takes in a message that was published.
    pub(super) fn admit(&mut self, queued: Queued) {
        if let Some(queued) = self.enter_lane(queued) {
            self.fresh.push_back(queued);
        }
    }

    /// Takes in a message that was published and is still on its way. Where order is promised it holds up its key.
    pub(super) fn admit_late(&mut self, queued: Queued, due: Timestamp) {
        if let Some(queued) = self.enter_lane(queued) {
            self.delay(queued, due);
        }
    }

    /// Lets the newest ready message and the `back`-th before it change places; where order is promised they are of different keys.
    pub(super) fn swap_newest(&mut self, back: usize) {
        let Some(newest) = self.fresh.len().checked_sub(1) else { return };
        let other = newest.saturating_sub(back);
        if other != newest {
            self.fresh.swap(other, newest);
            // The times stay in order, by which the oldest is found.
            let (earlier, later) = (self.fresh[newest].published_at, self.fresh[other].published_at);
            self.fresh[other].published_at = earlier;
            self.fresh[newest].published_at = later;
        }
    }

    pub(super) fn join(&mut self, id: u32, spec: &SubscriptionSpec) {
        if spec.key_order && self.lanes.is_none() {
            self.keep_order();
        }
        let in_flight_max = spec.in_flight_max;
        self.members.push(MemberState { id, in_flight: 0, in_flight_max, closed: false });
    }

    /// Hands out at most `max` messages.
    pub(super) fn take(
        &mut self,
        member: u32,
        max: usize,
        clock: &dyn Clock,
        home: &Arc<dyn ReceiptHome>,
    ) -> Taken {
        self.promote_due(clock);
        let ready = self.fresh.len() + self.again.len();
        let state = self.members.iter_mut().find(|state| state.id == member && !state.closed);
        let Some(state) = state else { return Taken::Closed };
        let room = state.in_flight_max.saturating_sub(state.in_flight);
        let count = ready.min(max).min(room);
        if count == 0 {
            // Without room, what becomes due cannot be taken either: only settling helps.
            let due = self.delayed.peek().filter(|_| room > 0).map(|Reverse(next)| next.due);
            return Taken::None { due };
        }
        state.in_flight += count;
        let mut batch = Vec::with_capacity(count);
        for _ in 0..count {
            let queued = self.pop_ready();
            let (message, attempt) = (queued.message.clone(), queued.attempts);
            let token = self.in_flight.insert(Held { queued, member });
            batch.push(Delivery::new(message, attempt, Receipt::new(token, Arc::clone(home))));
        }
        self.give_memory_back();
        Taken::Some(batch)
    }

    /// Settles one delivery. `false` when it is stale.
    pub(super) fn settle(
        &mut self,
        token: u64,
        member: u32,
        disposition: Disposition,
        now: Timestamp,
        given_up: &mut Vec<GivenUp>,
    ) -> bool {
        let Some(Held { queued, .. }) = self.remove(token, member) else { return false };
        match disposition {
            Disposition::Ack => self.leave_lane(queued.message.key.as_ref()),
            Disposition::Retry { after } if after.is_zero() => self.again.push_back(queued),
            // The clock shows whole milliseconds: without one more, a retry could come up to one early.
            Disposition::Retry { after } => {
                self.delay(queued, now.after(after.saturating_add(Duration::from_micros(1_999))));
            }
            Disposition::DeadLetter { reason } => {
                self.leave_lane(queued.message.key.as_ref());
                given_up.push(GivenUp { queued, reason });
            }
        }
        true
    }

    /// A delivery was dropped: its message is ready again.
    pub(super) fn give_back(&mut self, token: u64, member: u32) {
        if let Some(held) = self.remove(token, member) {
            self.again.push_back(held.queued);
        }
    }

    /// From now on this member may hold so many deliveries.
    pub(super) fn resize(&mut self, member: u32, in_flight_max: usize) {
        if let Some(state) = self.members.iter_mut().find(|state| state.id == member) {
            state.in_flight_max = in_flight_max;
        }
    }

    /// Nothing more is delivered to this member; what it has can still be settled.
    pub(super) fn close(&mut self, member: u32) {
        if let Some(state) = self.members.iter_mut().find(|state| state.id == member) {
            state.closed = true;
        }
    }

    /// The member is gone; what it has not settled is ready again.
    pub(super) fn leave(&mut self, member: u32) {
        self.members.retain(|state| state.id != member);
        let returned = self.in_flight.remove_all(member);
        self.again.extend(returned.into_iter().map(|held| held.queued));
    }

    pub(super) fn lag(&mut self, clock: &dyn Clock) -> Lag {
        self.promote_due(clock);
        let blocked = self.lanes.as_ref().map_or(0, Lanes::waiting);
        let ready = self.fresh.len() + self.again.len() + blocked;
        // Without lanes the fresh ones stand in the order of their times.
        let fresh = if self.lanes.is_some() { self.fresh.len() } else { 1 };
        let behind = self.lanes.iter().flat_map(Lanes::fronts);
        let oldest = self.fresh.iter().take(fresh).chain(&self.again).chain(behind);
        Lag {
            ready: ready as u64,
            in_flight: self.in_flight.len() as u64,
            oldest_ready: oldest.map(|queued| queued.published_at).min(),
        }
    }

    /// What is not settled, in no particular order beyond that of those ready.
    pub(super) fn all(&self) -> impl Iterator<Item = &Queued> {
        let delayed = self.delayed.iter().map(|Reverse(delayed)| &delayed.queued);
        let behind = self.lanes.iter().flat_map(Lanes::all);
        let held = self.in_flight.iter().map(|held| &held.queued);
        held.chain(&self.again).chain(&self.fresh).chain(behind).chain(delayed)
    }

    /// `None` before it has a name.
    pub(super) fn describe(&self) -> Option<GroupDescription> {
        let mut description = GroupDescription::new(Arc::clone(self.name.as_ref()?));
        description.state = if self.members.is_empty() { "empty" } else { "active" }.to_owned();
        description.members = vec![GroupMember::default(); self.members.len()];
        description.lag = (self.waiting() + self.in_flight.len()) as u64;
        Some(description)
    }

    fn remove(&mut self, token: u64, member: u32) -> Option<Held> {
        let held = self.in_flight.remove(token, member)?;
        if let Some(state) = self.members.iter_mut().find(|state| state.id == member) {
            state.in_flight -= 1;
        }
        Some(held)
    }

    fn pop_ready(&mut self) -> Queued {
        let again = !self.again.is_empty() && (self.fresh.is_empty() || !self.again_was_last);
        self.again_was_last = again;
        let queue = if again { &mut self.again } else { &mut self.fresh };
        let mut queued = queue.pop_front().expect("as many are ready as were counted");
        queued.attempts = queued.attempts.saturating_add(1);
        queued
    }

    fn delay(&mut self, queued: Queued, due: Timestamp) {
        self.delayed_count += 1;
        self.delayed.push(Reverse(Delayed { due, nth: self.delayed_count, queued }));
    }

    fn promote_due(&mut self, clock: &dyn Clock) {
        if self.delayed.is_empty() {
            return;
        }
        let now = clock.now();
        while let Some(next) = self.delayed.peek()
            && next.0.due <= now
        {
            let Reverse(next) = self.delayed.pop().expect("it was peeked at");
            self.again.push_back(next.queued);
        }
    }

    fn enter_lane(&mut self, queued: Queued) -> Option<Queued> {
        match &mut self.lanes {
            None => Some(queued),
            Some(lanes) => lanes.enter(queued),
        }
    }

    fn leave_lane(&mut self, key: Option<&Arc<str>>) {
        if let Some(lanes) = &mut self.lanes
            && let Some(next) = lanes.leave(key)
        {
            self.fresh.push_back(next);
        }
    }

    /// Begins to keep order per key, in a group that did not until now.
    fn keep_order(&mut self) {
        let mut lanes = Lanes::default();
        let held = self.in_flight.iter().map(|held| &held.queued);
        let delayed = self.delayed.iter().map(|Reverse(delayed)| &delayed.queued);
        held.chain(delayed).for_each(|queued| lanes.note_out(queued));
        self.lanes = Some(lanes);
        let ready: Vec<Queued> = self.again.drain(..).chain(self.fresh.drain(..)).collect();
        ready.into_iter().for_each(|queued| self.admit(queued));
    }

    fn give_memory_back(&mut self) {
        for queue in [&mut self.fresh, &mut self.again] {
            if queue.is_empty() && queue.capacity() > IDLE_CAPACITY_MAX {
                queue.shrink_to(0);
            }
        }
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.nth).cmp(&(other.due, other.nth))
    }
}
