use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use crate::memory::hash::FastHash;
use crate::record::SagaKey;

/// Where each saga is, by the hash of its key. The keys themselves are only where they point: a tombstone must be small.
#[derive(Default)]
pub(super) struct Places {
    hasher: FastHash,
    by_hash: HashMap<u64, Place, AsIs>,
    /// Sagas whose hash another one had first: next to none.
    others: HashMap<SagaKey, Place, FastHash>,
}

/// A live saga's slot or a tombstone's number, told apart by the highest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// A [`Place`], read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Live(u32),
    Tomb(u64),
}

const TOMB: u64 = 1 << 63;

impl From<Found> for Place {
    fn from(found: Found) -> Self {
        match found {
            Found::Live(slot) => Self(slot.into()),
            Found::Tomb(number) => Self(number | TOMB),
        }
    }
}

impl From<Place> for Found {
    fn from(Place(place): Place) -> Self {
        if place & TOMB == 0 { Self::Live(place as u32) } else { Self::Tomb(place & !TOMB) }
    }
}

impl Places {
    pub(super) fn hash(&self, key: &SagaKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Finds a saga; `is_of` tells whether what is at a place has this key.
    pub(super) fn find(&self, hash: u64, key: &SagaKey, is_of: impl FnOnce(Found) -> bool) -> Option<Found> {
        if let Some(&place) = self.by_hash.get(&hash)
            && is_of(place.into())
        {
            return Some(place.into());
        }
        if self.others.is_empty() {
            return None;
        }
        self.others.get(key).map(|&place| place.into())
    }

    /// Files a saga that is not there.
    pub(super) fn insert(&mut self, hash: u64, key: &SagaKey, found: Found) {
        match self.by_hash.entry(hash) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(found.into());
            }
            std::collections::hash_map::Entry::Occupied(_) => {
                self.others.insert(key.clone(), found.into());
            }
        }
    }

    /// Forgets a saga, if it is still at this place.
    pub(super) fn remove(&mut self, hash: u64, key: &SagaKey, found: Found) {
        let place = Place::from(found);
        if self.by_hash.get(&hash) == Some(&place) {
            self.by_hash.remove(&hash);
        } else if self.others.get(key) == Some(&place) {
            self.others.remove(key);
        }
    }
}

/// The keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl BuildHasher for AsIs {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for AsIs {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 are hashed");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SagaId;

    #[test]
    fn sagas_of_the_same_hash_are_told_apart() {
        let keys: Vec<SagaKey> =
            ["a", "b", "c"].map(|id| SagaKey { saga: "s".into(), id: SagaId::new(id).unwrap() }).into();
        let at = [Found::Live(0), Found::Tomb(1), Found::Live(2)];
        let mut places = Places::default();
        let find = |places: &Places, n: usize| places.find(7, &keys[n], |found| found == at[n]);
        places.insert(7, &keys[0], at[0]);
        places.insert(7, &keys[1], at[1]);
        assert_eq!([0, 1, 2].map(|n| find(&places, n)), [Some(at[0]), Some(at[1]), None]);
        places.remove(7, &keys[0], at[0]);
        places.insert(7, &keys[2], at[2]);
        assert_eq!([0, 1, 2].map(|n| find(&places, n)), [None, Some(at[1]), Some(at[2])]);
        places.remove(7, &keys[1], Found::Tomb(9));
        assert_eq!(find(&places, 1), Some(at[1]), "what is elsewhere by now stays");
        places.remove(7, &keys[1], at[1]);
        assert_eq!(find(&places, 1), None);
    }
}
