use std::time::Duration;

use crate::random::SplitMix64;
use crate::record::Topic;
use crate::wire::Message;

/// A message that is swapped with another goes at most this many places ahead.
const REORDER_MESSAGES_MAX: u64 = 16;

/// What goes wrong on a [`MemoryBus`](super::MemoryBus), by a seed: the same seed and the same sequence of publishes make the same faults.
///
/// Each `f64` is a probability from 0 to 1, drawn for each published message; each kind of fault draws from numbers of its own.
/// Where a subscription asked for order per key, neither delaying nor reordering breaks it.
///
/// ```
/// use saga_core::memory::{Faults, MemoryBus};
/// let bus = MemoryBus::builder().faults(Faults { drop: 0.2, duplicate: 0.2, ..Faults::seeded(7) }).build();
/// bus.set_faults(Faults::none()); // healed
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Which faults, of all that are possible.
    pub seed: u64,
    /// Acknowledged, but never delivered.
    pub drop: f64,
    /// Delivered twice.
    pub duplicate: f64,
    /// Answered [`Published::Unknown`](crate::ports::Published::Unknown); half of them are stored all the same.
    pub refuse: f64,
    /// Changes places with one of the 16 messages before it that nobody has taken yet.
    pub reorder: f64,
    /// Delivered late, by up to [`delay_max`](Faults::delay_max).
    pub delay: f64,
    /// The longest delay; cut to whole milliseconds.
    pub delay_max: Duration,
    /// Where.
    pub topics: FaultTopics,
}

/// Which topics suffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultTopics {
    /// All of them.
    All,
    /// These.
    Only(Vec<Topic>),
    /// All but these, for example a trigger topic whose losses nobody would notice.
    Except(Vec<Topic>),
}

impl Faults {
    /// No faults.
    pub const fn none() -> Self {
        Self::seeded(0)
    }

    /// No faults yet, on all topics, with delays of up to one second: to be filled in.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            seed,
            drop: 0.0,
            duplicate: 0.0,
            refuse: 0.0,
            reorder: 0.0,
            delay: 0.0,
            delay_max: Duration::from_secs(1),
            topics: FaultTopics::All,
        }
    }

    /// Whether anything can go wrong.
    pub(super) fn is_none(&self) -> bool {
        let all = [self.drop, self.duplicate, self.refuse, self.reorder, self.delay];
        all.iter().all(|&probability| probability <= 0.0)
    }

    fn spares(&self, topic: &Topic) -> bool {
        match &self.topics {
            FaultTopics::All => false,
            FaultTopics::Only(topics) => !topics.contains(topic),
            FaultTopics::Except(topics) => topics.contains(topic),
        }
    }
}

/// What becomes of one message.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) stored: bool,
    /// The publisher is not told.
    pub(super) unknown: bool,
    /// How many places ahead it goes.
    pub(super) swap_back: Option<usize>,
    delay: Option<Duration>,
    /// The second copy, with its own delay.
    copy: Option<Option<Duration>>,
}

impl Fate {
    /// The delay of each copy that is delivered.
    pub(super) fn copies(&self) -> impl Iterator<Item = Option<Duration>> {
        std::iter::once(self.delay).chain(self.copy)
    }
}

/// Decides what goes wrong.
pub(super) struct FaultSource {
    faults: Faults,
    drop: SplitMix64,
    duplicate: SplitMix64,
    refuse: SplitMix64,
    reorder: SplitMix64,
    delay: SplitMix64,
}

impl FaultSource {
    pub(super) fn new(faults: Faults) -> Self {
        let stream = |n| SplitMix64::stream(faults.seed, n);
        Self {
            drop: stream(1),
            duplicate: stream(2),
            refuse: stream(3),
            reorder: stream(4),
            delay: stream(5),
            faults,
        }
    }

    /// The fate of each message; `None` where nothing goes wrong.
    pub(super) fn decide(&mut self, batch: &[Message]) -> Vec<Option<Fate>> {
        batch.iter().map(|message| self.decide_one(message)).collect()
    }

    fn decide_one(&mut self, message: &Message) -> Option<Fate> {
        if self.faults.spares(&message.topic) {
            return None;
        }
        // Everything is drawn for every message, so that changing one probability leaves the other faults where they were.
        let dropped = self.drop.chance(self.faults.drop);
        let unknown = self.refuse.chance(self.faults.refuse);
        let lost = self.refuse.chance(0.5);
        let swapped = self.reorder.chance(self.faults.reorder);
        let back = 1 + self.reorder.below(REORDER_MESSAGES_MAX) as usize;
        let duplicated = self.duplicate.chance(self.faults.duplicate);
        let (first, second) = (self.draw_delay(), self.draw_delay());
        let harmless = !dropped && !unknown && !swapped && !duplicated && first.is_none();
        (!harmless).then_some(Fate {
            stored: !(dropped || unknown && lost),
            unknown,
            swap_back: swapped.then_some(back),
            delay: first,
            copy: duplicated.then_some(second),
        })
    }

    fn draw_delay(&mut self) -> Option<Duration> {
        let delayed = self.delay.chance(self.faults.delay);
        let max = u64::try_from(self.faults.delay_max.as_millis()).unwrap_or(u64::MAX);
        let ms = 1 + self.delay.below(max.max(1));
        delayed.then_some(Duration::from_millis(ms))
    }
}
