use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::group::Queued;
use crate::memory::hash::FastHash;

/// Order per key: of each key at most one message is out (ready, delivered, or waiting for its retry); the others wait here behind it.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: HashMap<Arc<str>, Lane, FastHash>,
    waiting: usize,
}

#[derive(Default)]
struct Lane {
    /// More than one only for those delivered before the order was asked for.
    out: usize,
    waiting: VecDeque<Queued>,
}

impl Lanes {
    /// How many messages wait behind others of their key.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lets a message out, or keeps it if another of its key is out.
    pub(super) fn enter(&mut self, queued: Queued) -> Option<Queued> {
        let Some(key) = &queued.message.key else { return Some(queued) };
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.waiting.push_back(queued);
            self.waiting += 1;
            return None;
        }
        self.lanes.insert(Arc::clone(key), Lane { out: 1, waiting: VecDeque::new() });
        Some(queued)
    }

    /// Notes a message that is out already.
    pub(super) fn note_out(&mut self, queued: &Queued) {
        if let Some(key) = &queued.message.key {
            self.lanes.entry(Arc::clone(key)).or_default().out += 1;
        }
    }

    /// A message of this key is done: lets the next one out, if there is one.
    pub(super) fn leave(&mut self, key: Option<&Arc<str>>) -> Option<Queued> {
        let key = key?;
        let lane = self.lanes.get_mut(key).expect("a message that is out has a lane");
        lane.out -= 1;
        if lane.out > 0 {
            return None;
        }
        let next = lane.waiting.pop_front();
        if next.is_some() {
            lane.out = 1;
            self.waiting -= 1;
        } else {
            self.lanes.remove(key);
        }
        next
    }

    /// All that wait, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Queued> {
        self.lanes.values().flat_map(|lane| &lane.waiting)
    }

    /// The longest waiting of each key, in no particular order.
    pub(super) fn fronts(&self) -> impl Iterator<Item = &Queued> {
        self.lanes.values().filter_map(|lane| lane.waiting.front())
    }
}
