use std::collections::{BTreeMap, BTreeSet};

/// A partition of one of the topics that a subscription reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Partition {
    /// Whether it is of the retries.
    pub(crate) is_retry: bool,
    pub(crate) number: i32,
}

/// Which offsets are settled, so that what is committed never passes one that is not. Pure.
///
/// Offsets need not follow each other: transactions and compaction leave gaps.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    epoch: u64,
    partitions: BTreeMap<Partition, Assigned>,
}

#[derive(Debug)]
struct Assigned {
    epoch: u64,
    /// Delivered and not settled.
    open: BTreeSet<i64>,
    /// Behind the last that was delivered.
    next: Option<i64>,
    committed: Option<i64>,
}

impl Tracker {
    /// A partition was given to this consumer. What was delivered of an earlier assignment is stale from now on.
    pub(crate) fn assign(&mut self, partition: Partition) {
        self.epoch += 1;
        let assigned = Assigned { epoch: self.epoch, open: BTreeSet::new(), next: None, committed: None };
        self.partitions.insert(partition, assigned);
    }

    /// Changes whenever a partition comes.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A partition was taken away.
    pub(crate) fn revoke(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    /// A message was delivered; returns the epoch of its assignment. `None` when the partition is not assigned.
    pub(crate) fn delivered(&mut self, partition: Partition, offset: i64) -> Option<u64> {
        let assigned = self.partitions.get_mut(&partition)?;
        assigned.open.insert(offset);
        assigned.next = Some(offset + 1);
        Some(assigned.epoch)
    }

    /// A delivery is settled. `false` when it is stale.
    pub(crate) fn settle(&mut self, partition: Partition, epoch: u64, offset: i64) -> bool {
        let assigned = self.partitions.get_mut(&partition).filter(|assigned| assigned.epoch == epoch);
        assigned.is_some_and(|assigned| assigned.open.remove(&offset))
    }

    /// Whether a delivery could still be settled.
    pub(crate) fn is_current(&self, partition: Partition, epoch: u64) -> bool {
        self.partitions.get(&partition).is_some_and(|assigned| assigned.epoch == epoch)
    }

    /// What may be committed, of the retries or of the others, and was not yet: the first that is not settled, or behind the last. From now on it
    /// counts as committed.
    pub(crate) fn take_commits(&mut self, of_retries: bool) -> Vec<(Partition, i64)> {
        let mut commits = Vec::new();
        for (partition, assigned) in &mut self.partitions {
            if partition.is_retry != of_retries {
                continue;
            }
            let position = assigned.open.first().copied().or(assigned.next);
            if let Some(position) = position.filter(|position| assigned.committed != Some(*position)) {
                assigned.committed = Some(position);
                commits.push((*partition, position));
            }
        }
        commits
    }

    /// A commit failed: it is made again.
    pub(crate) fn not_committed(&mut self) {
        self.partitions.values_mut().for_each(|assigned| assigned.committed = None);
    }

    /// Behind the last that was delivered; `None` when nothing was, or it is not assigned.
    pub(crate) fn next(&self, partition: Partition) -> Option<i64> {
        self.partitions.get(&partition)?.next
    }

    pub(crate) fn assigned(&self) -> impl Iterator<Item = Partition> {
        self.partitions.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition { is_retry: false, number: 0 };
    const RETRY: Partition = Partition { is_retry: true, number: 0 };

    #[test]
    fn what_is_not_settled_is_never_passed() {
        let mut tracker = Tracker::default();
        tracker.assign(P);
        assert_eq!(tracker.take_commits(false), []);
        // With gaps, as transactions leave them.
        let epochs: Vec<_> = [3, 5, 9].map(|offset| tracker.delivered(P, offset).unwrap()).into();
        assert_eq!(tracker.take_commits(false), [(P, 3)]);
        assert!(tracker.settle(P, epochs[1], 5));
        assert_eq!(tracker.take_commits(false), []);
        assert!(tracker.settle(P, epochs[0], 3));
        assert_eq!(tracker.take_commits(false), [(P, 9)]);
        assert!(tracker.settle(P, epochs[2], 9));
        assert_eq!(tracker.take_commits(false), [(P, 10)]);
        assert!(!tracker.settle(P, epochs[2], 9), "only once");
        tracker.not_committed();
        assert_eq!(tracker.take_commits(false), [(P, 10)]);
    }

    #[test]
    fn it_is_known_what_is_assigned_and_where_reading_goes_on() {
        let mut tracker = Tracker::default();
        let before = tracker.epoch();
        tracker.assign(P);
        let first = tracker.epoch();
        tracker.assign(RETRY);
        assert!(before != first && first != tracker.epoch(), "it changes with every partition that comes");
        assert!(tracker.assigned().eq([P, RETRY]));
        assert_eq!(tracker.next(P), None);
        tracker.delivered(P, 7).unwrap();
        assert_eq!((tracker.next(P), tracker.next(RETRY)), (Some(8), None));
        tracker.revoke(P);
        assert!(tracker.assigned().eq([RETRY]));
        assert_eq!(tracker.next(P), None);
    }

    #[test]
    fn retries_are_committed_apart() {
        let mut tracker = Tracker::default();
        for partition in [P, RETRY] {
            tracker.assign(partition);
            tracker.delivered(partition, 4).unwrap();
        }
        assert_eq!(tracker.take_commits(true), [(RETRY, 4)]);
        assert_eq!(tracker.take_commits(false), [(P, 4)]);
    }

    #[test]
    fn an_earlier_assignment_is_stale() {
        let mut tracker = Tracker::default();
        tracker.assign(P);
        let old = tracker.delivered(P, 1).unwrap();
        tracker.revoke(P);
        assert!(!tracker.settle(P, old, 1));
        assert_eq!(tracker.delivered(P, 1), None);
        tracker.assign(P);
        let new = tracker.delivered(P, 1).unwrap();
        assert!(!tracker.settle(P, old, 1) && tracker.is_current(P, new) && !tracker.is_current(P, old));
        assert!(tracker.settle(P, new, 1));
    }
}
