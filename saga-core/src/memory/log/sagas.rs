use super::owners::Owner;
use super::wakes::Filed;
use crate::ports::Version;
use crate::record::{Entry, RunId, SagaKey, Status, Timestamp};

/// The sagas whose entries are kept, each in a slot.
#[derive(Default)]
pub(super) struct Sagas {
    slots: Vec<Option<Stored>>,
    free: Vec<u32>,
}

/// A saga as it is kept.
pub(super) struct Stored {
    pub(super) key: SagaKey,
    pub(super) run: RunId,
    /// What it is pinned to, by its number.
    pub(super) definition: u32,
    pub(super) entries: Vec<Entry>,
    pub(super) status: Status,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) owner: Option<Owner>,
    pub(super) filed: Option<Filed>,
}

impl Stored {
    pub(super) const fn version(&self) -> Version {
        self.entries.len() as Version
    }

    /// When its last entry was decided.
    pub(super) fn changed_at(&self) -> Timestamp {
        self.entries.last().map(|entry| entry.at).unwrap_or_default()
    }
}

impl Sagas {
    pub(super) fn insert(&mut self, saga: Stored) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(saga);
            return slot;
        }
        self.slots.push(Some(saga));
        u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 sagas at once")
    }

    /// What is in a slot that may have been given up.
    pub(super) fn look(&self, slot: u32) -> Option<&Stored> {
        self.slots[slot as usize].as_ref()
    }

    pub(super) fn get(&self, slot: u32) -> &Stored {
        self.slots[slot as usize].as_ref().expect("a place in use")
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Stored {
        self.slots[slot as usize].as_mut().expect("a place in use")
    }

    pub(super) fn remove(&mut self, slot: u32) -> Stored {
        let saga = self.slots[slot as usize].take().expect("a place in use");
        self.free.push(slot);
        saga
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.slots.iter().flatten()
    }
}
