use std::collections::VecDeque;

use crate::ports::Tombstone;
use crate::record::{Cause, Ending, RunId, SagaId, Timestamp};

/// Tombstones stand in blocks of this many: one growing buffer would waste up to half of itself.
const BLOCK: usize = 1_024;

/// The tombstones, in the order they were set up, each found by its number.
#[derive(Default)]
pub(super) struct Tombs {
    blocks: VecDeque<VecDeque<Tomb>>,
    /// The number of the oldest.
    first: u64,
    count: usize,
}

/// A [`Tombstone`] and its key, in 80 bytes.
pub(super) struct Tomb {
    pub(super) id: SagaId,
    cause: Option<Box<Cause>>,
    /// When it was set up, by the log's clock.
    pub(super) filed_at: Timestamp,
    ended_at: Timestamp,
    run: RunId,
    /// The halves of a digest, which as one number would have to be aligned to 16 bytes.
    digest: [u64; 2],
    /// The saga's name, by its number.
    pub(super) saga: u32,
    pub(super) ending: Ending,
}

impl Tombs {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Sets one up, and returns its number.
    pub(super) fn push(&mut self, tomb: Tomb) -> u64 {
        if self.blocks.back().is_none_or(|block| block.len() == block.capacity()) {
            self.blocks.push_back(VecDeque::with_capacity(BLOCK));
        }
        let last = self.blocks.back_mut().expect("one has just been added");
        last.push_back(tomb);
        self.count += 1;
        self.first + self.count as u64 - 1
    }

    pub(super) fn get(&self, number: u64) -> &Tomb {
        let nth = (number - self.first) as usize;
        let in_first = self.blocks[0].len();
        match nth.checked_sub(in_first) {
            None => &self.blocks[0][nth],
            Some(beyond) => &self.blocks[1 + beyond / BLOCK][beyond % BLOCK],
        }
    }

    pub(super) fn oldest(&self) -> Option<&Tomb> {
        self.blocks.front()?.front()
    }

    /// Takes the oldest down, with its number.
    pub(super) fn pop(&mut self) -> Option<(u64, Tomb)> {
        let block = self.blocks.front_mut()?;
        let tomb = block.pop_front()?;
        if block.is_empty() {
            self.blocks.pop_front();
        }
        let number = self.first;
        self.first += 1;
        self.count -= 1;
        Some((number, tomb))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Tomb)> {
        (self.first..).zip(self.blocks.iter().flatten())
    }
}

impl Tomb {
    pub(super) fn new(id: SagaId, saga: u32, tombstone: Tombstone, filed_at: Timestamp) -> Self {
        let Tombstone { run, input_digest, ending, cause, ended_at } = tombstone;
        let digest = [(input_digest >> 64) as u64, input_digest as u64];
        Self { id, cause, filed_at, ended_at, run, digest, saga, ending }
    }

    pub(super) fn tombstone(&self) -> Tombstone {
        let [high, low] = self.digest;
        Tombstone {
            run: self.run,
            input_digest: u128::from(high) << 64 | u128::from(low),
            ending: self.ending,
            cause: self.cause.clone(),
            ended_at: self.ended_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tomb(n: u32) -> Tomb {
        let tombstone = Tombstone {
            run: RunId::from_u128(n.into()),
            input_digest: u128::MAX - u128::from(n),
            ending: Ending::Completed,
            cause: None,
            ended_at: Timestamp::default(),
        };
        Tomb::new(SagaId::new("x").unwrap(), n, tombstone, Timestamp::default())
    }

    #[test]
    fn a_tomb_is_small() {
        assert_eq!(size_of::<Tomb>(), 80);
    }

    #[test]
    fn each_is_found_by_its_number() {
        let mut tombs = Tombs::default();
        let mut taken = 0;
        for n in 0..5_000_u32 {
            assert_eq!(tombs.push(tomb(n)), u64::from(n));
            if n % 3 == 2 {
                let (number, oldest) = tombs.pop().unwrap();
                assert_eq!((number, oldest.saga), (taken, taken as u32));
                taken += 1;
            }
        }
        assert_eq!(tombs.len(), 5_000 - taken as usize);
        for number in taken..5_000 {
            assert_eq!(tombs.get(number).saga, number as u32);
            assert_eq!(tombs.get(number).tombstone().input_digest, u128::MAX - u128::from(number));
        }
        assert_eq!(
            tombs.iter().map(|(number, _)| number).collect::<Vec<_>>(),
            (taken..5_000).collect::<Vec<_>>()
        );
    }
}
