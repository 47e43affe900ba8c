use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use super::Limits;
use super::owners::{Owner, Owners};
use super::places::{Found, Places};
use super::sagas::{Sagas, Stored};
use super::tombs::{Tomb, Tombs};
use super::wakes::Wakes;
use crate::error::{Error, ErrorKind};
use crate::memory::hash::FastHash;
use crate::ports::{Append, AppendError, Audited, Record, StoredSaga, Tombstone, Version, Woken};
use crate::record::{DefinitionRef, Outline, SagaKey, Timestamp};

/// At most this many tombstones are taken down after a batch, so that no append waits long for it.
const PRUNED_MAX: usize = 1_024;
/// How many of the operators' actions are kept.
const AUDIT_MAX: usize = 10_000;

/// All that the log holds.
#[derive(Default)]
pub(super) struct State {
    pub(super) owners: Owners,
    pub(super) definitions: Numbered<DefinitionRef>,
    /// What operators did, the newest of it.
    pub(super) audit: VecDeque<Audited>,
    pub(super) outlines: BTreeMap<DefinitionRef, Outline>,
    pub(super) names: Numbered<Arc<str>>,
    pub(super) sagas: Sagas,
    pub(super) tombs: Tombs,
    places: Places,
    wakes: Wakes,
}

/// Values that come again and again, kept once and called by a number.
pub(super) struct Numbered<T> {
    numbers: HashMap<T, u32, FastHash>,
    all: Vec<T>,
}

impl State {
    /// Appends to one saga, if it is at the version expected.
    pub(super) fn append(
        &mut self,
        append: Append,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Version, AppendError> {
        let hash = self.places.hash(&append.key);
        let mut found = self.find(hash, &append.key);
        if let Some(Found::Tomb(number)) = found
            && is_over(self.tombs.get(number), now, limits)
        {
            self.places.remove(hash, &append.key, Found::Tomb(number));
            found = None;
        }
        let live = match found {
            Some(Found::Live(slot)) => {
                self.check(slot, &append)?;
                Some(slot)
            }
            None if append.expected == 0 => None,
            None | Some(Found::Tomb(_)) => return Err(AppendError::Conflict),
        };
        let version = append.expected + append.entries.len() as Version;
        self.file_operators(&append);
        if let Some(tombstone) = append.settled {
            self.settle(hash, live, append.key, tombstone, now);
        } else if version > 0 {
            self.store(hash, live, append);
        }
        Ok(version)
    }

    fn file_operators(&mut self, append: &Append) {
        for entry in append.entries.iter().filter(|entry| entry.fact.is_operators()) {
            if self.audit.len() == AUDIT_MAX {
                self.audit.pop_front();
            }
            let Append { key, run, definition, .. } = append;
            let (key, definition, entry) = (key.clone(), definition.clone(), entry.clone());
            self.audit.push_back(Audited { key, run: *run, definition, entry });
        }
    }

    pub(super) fn load(&self, key: &SagaKey, now: Timestamp, limits: &Limits) -> Option<Record> {
        match self.find(self.places.hash(key), key)? {
            // One that is too old counts as gone, whether it has been taken down yet or not.
            Found::Tomb(number) if is_over(self.tombs.get(number), now, limits) => None,
            Found::Tomb(number) => Some(Record::Tombstone(self.tombs.get(number).tombstone())),
            Found::Live(slot) => {
                let saga = self.sagas.get(slot);
                Some(Record::Stored(StoredSaga {
                    run: saga.run,
                    definition: self.definitions.get(saga.definition).clone(),
                    version: saga.version(),
                    entries: saga.entries.clone(),
                    status: saga.status,
                    wake_at: saga.wake_at,
                }))
            }
        }
    }

    /// The sagas that are due and may be this owner's, which become its own.
    pub(super) fn wake(
        &mut self,
        owner: Owner,
        definitions: &[DefinitionRef],
        max: usize,
        now: Timestamp,
    ) -> Vec<Woken> {
        let Self { wakes, owners, sagas, definitions: known, .. } = self;
        let due = wakes.due(
            now,
            max,
            |queue| {
                definitions.contains(known.get(queue.definition))
                    && queue.owner.is_none_or(|other| other == owner || !owners.is_alive(other, now))
            },
            sagas,
        );
        let taken = due.into_iter().map(|line| {
            let saga = sagas.get_mut(line.slot);
            let taken_over = saga.owner != Some(owner);
            saga.owner = Some(owner);
            wakes.file(line.slot, saga);
            Woken { key: saga.key.clone(), version: saga.version(), taken_over }
        });
        taken.collect()
    }

    /// Tidies up after a batch: takes tombstones down that are too old or too many, a bounded number at a time, and throws stale lines out.
    pub(super) fn tidy(&mut self, now: Timestamp, limits: &Limits) {
        self.wakes.sweep(&self.sagas);
        for _ in 0..PRUNED_MAX {
            let Some(oldest) = self.tombs.oldest() else { return };
            if self.tombs.len() <= limits.tombstones_max && !is_over(oldest, now, limits) {
                return;
            }
            let Some((number, tomb)) = self.tombs.pop() else { return };
            let key = SagaKey { saga: Arc::clone(self.names.get(tomb.saga)), id: tomb.id };
            self.places.remove(self.places.hash(&key), &key, Found::Tomb(number));
        }
    }

    fn find(&self, hash: u64, key: &SagaKey) -> Option<Found> {
        self.places.find(hash, key, |found| match found {
            Found::Live(slot) => self.sagas.get(slot).key == *key,
            Found::Tomb(number) => {
                let tomb = self.tombs.get(number);
                tomb.id == key.id && *self.names.get(tomb.saga) == key.saga
            }
        })
    }

    fn check(&self, slot: u32, append: &Append) -> Result<(), AppendError> {
        let saga = self.sagas.get(slot);
        // A version says nothing about another run of the same id.
        if saga.version() != append.expected || saga.run != append.run {
            return Err(AppendError::Conflict);
        }
        let pinned = self.definitions.get(saga.definition);
        if *pinned != append.definition {
            let (key, other) = (&append.key, &append.definition);
            let message = format!("saga {key} is pinned to {pinned}; an append to it names {other}");
            return Err(AppendError::Failed(Error::new(ErrorKind::Invalid, message)));
        }
        Ok(())
    }

    fn store(&mut self, hash: u64, live: Option<u32>, append: Append) {
        let Append { key, run, definition, entries, status, wake_at, owner, .. } = append;
        let owner = owner.map(|(name, epoch)| self.owners.owner(&name, epoch));
        let slot = if let Some(slot) = live {
            let saga = self.sagas.get_mut(slot);
            saga.entries.extend(entries);
            (saga.status, saga.wake_at, saga.owner) = (status, wake_at, owner);
            slot
        } else {
            // Names come with every message anew: one copy of each is kept.
            let name = self.names.number(key.saga);
            let key = SagaKey { saga: Arc::clone(self.names.get(name)), id: key.id };
            let definition = self.definitions.number(definition);
            // Most of its entries are there from the start: no room for as many again.
            let mut entries = entries;
            entries.shrink_to_fit();
            let saga = Stored { key, run, definition, entries, status, wake_at, owner, filed: None };
            let slot = self.sagas.insert(saga);
            self.places.insert(hash, &self.sagas.get(slot).key, Found::Live(slot));
            slot
        };
        self.wakes.file(slot, self.sagas.get_mut(slot));
    }

    /// Puts a tombstone in a saga's place.
    fn settle(&mut self, hash: u64, live: Option<u32>, key: SagaKey, tombstone: Tombstone, now: Timestamp) {
        if let Some(slot) = live {
            self.wakes.forget(&mut self.sagas.remove(slot));
            self.places.remove(hash, &key, Found::Live(slot));
        }
        let name = self.names.number(Arc::clone(&key.saga));
        let number = self.tombs.push(Tomb::new(key.id.clone(), name, tombstone, now));
        self.places.insert(hash, &key, Found::Tomb(number));
    }
}

/// Whether a tombstone has stood for as long as the idempotency window says.
pub(super) fn is_over(tomb: &Tomb, now: Timestamp, limits: &Limits) -> bool {
    now >= tomb.filed_at.after(limits.idempotency_window)
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    pub(super) fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }

    /// The number of this value, a new one if it has none.
    fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(self.all.len()).expect("fewer than 2^32 names");
        self.all.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), all: Vec::new() }
    }
}
