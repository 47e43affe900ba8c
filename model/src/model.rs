//! What stateright explores.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use saga_core::Kind;
use saga_core::definition::Definition;
use saga_core::ports::Task;
use saga_core::record::RunId;
use stateright::Property;

use crate::acts::{self, Act};
use crate::config::{Config, Left};
use crate::coverage::Coverage;
use crate::definition::define;
use crate::laws::{self, Broken, Law};
use crate::mutants::Mutant;
use crate::play::{Play, Tale};
use crate::world::{Bus, Seen, World};

/// A configuration made ready to be explored, perhaps with a rule broken.
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) definition: Arc<Definition>,
    pub(crate) classes: Vec<Vec<usize>>,
    pub(crate) has_pivot: bool,
    pub(crate) task: Task,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) coverage: Arc<Coverage>,
    /// Worlds without faults from which a fair run is known to end well.
    good: Vec<Mutex<HashSet<u64>>>,
}

/// How many parts the set of good worlds has, so that threads do not wait for one another.
const GOOD_PARTS: usize = 64;

impl Model {
    pub(crate) fn new(config: Config, mutant: Option<Mutant>, coverage: Arc<Coverage>) -> Self {
        let (definition, classes) = (define(&config, mutant), config.classes());
        let good = (0..GOOD_PARTS).map(|_| Mutex::default()).collect();
        let task = Task { run: RunId::from_u128(1), step: "any".into() };
        let has_pivot = config.steps.iter().any(|step| step.kind == Kind::Pivot);
        Self { config, definition, classes, has_pivot, task, mutant, coverage, good }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The world after an act, `None` if it is the same. Whatever law it breaks, or would break in a fair run from then on, is noted in it.
    pub(crate) fn after(&self, world: &World, act: Act, tale: &mut Tale) -> Option<World> {
        let acted = catch_unwind(AssertUnwindSafe(|| {
            let mut play = Play::new(self, world.clone(), tale);
            play.act(act);
            play.world
        }));
        let mut next =
            acted.unwrap_or_else(|panic| World { broken: Some(panicked(&*panic)), ..world.clone() });
        if next.is_still(world) {
            return None;
        }
        if next.broken.is_none() {
            next.broken = self.fair_run(&next, tale);
        }
        Some(next)
    }

    /// What is wrong with the fair run from here, if anything.
    fn fair_run(&self, world: &World, tale: &mut Tale) -> Option<Broken> {
        let healed = world.without_faults();
        let digest = healed.digest(self, Bus::Lost);
        let part = &self.good[digest as usize % GOOD_PARTS];
        if !tale.is_told() && part.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            return None;
        }
        let run = catch_unwind(AssertUnwindSafe(|| Play::new(self, healed, tale).come_to_rest()));
        let broken = run.unwrap_or_else(|panic| Some(panicked(&*panic)));
        if broken.is_none() {
            part.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        }
        broken
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Broken {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    Law::NoPanic.broken(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)"))
}

impl stateright::Model for Model {
    type State = Seen;
    type Action = Act;

    fn init_states(&self) -> Vec<Seen> {
        vec![Seen::new(self, World::new(self.config.steps.len(), Left::of(&self.config.budget)))]
    }

    fn actions(&self, seen: &Seen, acts: &mut Vec<Act>) {
        if seen.world.broken.is_none() {
            acts::possible(self, &seen.world, acts);
        }
    }

    fn next_state(&self, seen: &Seen, act: Act) -> Option<Seen> {
        Some(Seen::new(self, self.after(&seen.world, act, &mut Tale::untold())?))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::properties()
    }
}
