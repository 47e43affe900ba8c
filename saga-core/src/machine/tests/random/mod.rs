//! Random sagas, and whatever can happen to them: every run ends, and nothing that must never be is seen on the way.

mod definitions;
mod laws;
mod participant;
mod world;

use std::vec::IntoIter;

use proptest::collection::vec;
use proptest::prelude::*;

use definitions::random_saga;
use world::{Manners, World};

/// Random choices. When they run out, the first choice is always taken, which is the harmless one; so shorter is simpler.
struct Dice {
    rolls: IntoIter<u8>,
}

impl Dice {
    fn new(rolls: Vec<u8>) -> Self {
        Self { rolls: rolls.into_iter() }
    }

    fn is_spent(&self) -> bool {
        self.rolls.len() == 0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.rolls.next().unwrap_or(0)) % end.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }
}

fn play(rolls: Vec<u8>, manners: Manners) -> World {
    let mut dice = Dice::new(rolls);
    let (definition, broken) = random_saga(&mut dice);
    let mut world = World::begin(definition, broken, dice, manners);
    world.play();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Participants keep the barrier's promises; messages are lost, doubled, late and out of order, coordinators crash, operators meddle.
    #[test]
    fn every_run_ends_as_it_should(rolls in vec(any::<u8>(), 8..400)) {
        let mut world = play(rolls, Manners::Honest);
        world.heal();
        world.help();
        world.check_ending();
    }

    /// Participants say anything at all.
    #[test]
    fn no_reply_breaks_the_machine(rolls in vec(any::<u8>(), 8..400)) {
        play(rolls, Manners::Wild);
    }

    /// Records that no machine wrote are refused or applied, never a panic.
    #[test]
    fn no_record_breaks_the_replay(rolls in vec(any::<u8>(), 8..200), cuts in vec(any::<u8>(), 0..6)) {
        play(rolls, Manners::Honest).replay_spoilt(&mut Dice::new(cuts));
    }
}
