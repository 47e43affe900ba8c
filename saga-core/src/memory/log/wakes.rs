use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

use super::owners::Owner;
use super::sagas::{Sagas, Stored};
use crate::record::Timestamp;

/// Stale lines are thrown out once there are more than twice as many lines as sagas that wait, and this many.
const SWEEP_LINES_MIN: usize = 1_024;

/// When to wake whom: one queue for each definition and owner, so that a coordinator never wades through what is not for it.
///
/// A saga that is to be woken later than it says here stays where it is until its line comes up: most are put off before they are due.
/// A saga that is to be woken sooner, or by another, gets a new line, and the old one is stale.
#[derive(Default)]
pub(super) struct Wakes {
    queues: BTreeMap<Queue, BinaryHeap<Reverse<Line>>>,
    lines: usize,
    waiting: usize,
    tickets: u32,
}

/// Which sagas stand in a queue: those of a definition, by its number, and an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Queue {
    pub(super) definition: u32,
    pub(super) owner: Option<Owner>,
}

/// A saga's line, as the saga knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filed {
    queue: Queue,
    at: Timestamp,
    ticket: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    at: Timestamp,
    pub(super) slot: u32,
    ticket: u32,
}

impl Wakes {
    /// Files a saga where its owner, definition and waking time now say.
    pub(super) fn file(&mut self, slot: u32, saga: &mut Stored) {
        let Some(at) = saga.wake_at else { return self.forget(saga) };
        let queue = Queue { definition: saga.definition, owner: saga.owner };
        if saga.filed.is_some_and(|filed| filed.queue == queue && filed.at <= at) {
            return;
        }
        self.waiting += usize::from(saga.filed.is_none());
        self.tickets = self.tickets.wrapping_add(1);
        let ticket = self.tickets;
        saga.filed = Some(Filed { queue, at, ticket });
        self.queues.entry(queue).or_default().push(Reverse(Line { at, slot, ticket }));
        self.lines += 1;
    }

    /// The saga is not to be woken any more.
    pub(super) fn forget(&mut self, saga: &mut Stored) {
        self.waiting -= usize::from(saga.filed.take().is_some());
    }

    /// The longest due, at most `max`, from the queues that `may` says. They stay in line.
    pub(super) fn due(
        &mut self,
        now: Timestamp,
        max: usize,
        may: impl Fn(&Queue) -> bool,
        sagas: &mut Sagas,
    ) -> Vec<Line> {
        let mut due = Vec::new();
        let mut queues: Vec<_> = self.queues.iter_mut().filter(|(queue, _)| may(queue)).collect();
        let mut taken = Vec::new();
        while due.len() < max {
            let mut next = None;
            for (nth, (_, heap)) in queues.iter_mut().enumerate() {
                let before = heap.len();
                let top = first_true(heap, now, sagas);
                self.lines -= before - heap.len();
                next = next.into_iter().chain(top.map(|line| (line, nth))).min();
            }
            let Some((line, nth)) = next else { break };
            queues[nth].1.pop();
            taken.push((nth, line));
            due.push(line);
        }
        for (nth, line) in taken {
            queues[nth].1.push(Reverse(line));
        }
        self.queues.retain(|_, heap| !heap.is_empty());
        due
    }

    /// Throws the stale lines out, once they are many.
    pub(super) fn sweep(&mut self, sagas: &Sagas) {
        if self.lines <= SWEEP_LINES_MIN.max(2 * self.waiting) {
            return;
        }
        self.queues.retain(|_, heap| {
            heap.retain(|Reverse(line)| is_true(line, sagas));
            !heap.is_empty()
        });
        self.lines = self.queues.values().map(BinaryHeap::len).sum();
    }
}

/// The first line of a queue that is due and true. Stale ones before it are thrown out, and those put off are put back.
fn first_true(heap: &mut BinaryHeap<Reverse<Line>>, now: Timestamp, sagas: &mut Sagas) -> Option<Line> {
    loop {
        let mut top = heap.peek_mut().filter(|line| line.0.at <= now)?;
        if !is_true(&top.0, sagas) {
            PeekMut::pop(top);
            continue;
        }
        let saga = sagas.get_mut(top.0.slot);
        let (Some(filed), Some(at)) = (&mut saga.filed, saga.wake_at) else {
            unreachable!("its line is true")
        };
        if at <= filed.at {
            return Some(top.0);
        }
        filed.at = at;
        top.0.at = at;
    }
}

fn is_true(line: &Line, sagas: &Sagas) -> bool {
    let filed = sagas.look(line.slot).and_then(|saga| saga.filed);
    filed.is_some_and(|filed| filed.ticket == line.ticket)
}
