//! Running the checker, and showing what it found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model as _};

use crate::acts::Act;
use crate::config::Config;
use crate::coverage::Coverage;
use crate::laws::Law;
use crate::model::Model;
use crate::mutants::Mutant;
use crate::play::Tale;
use crate::world::World;

/// What an exploration came to.
pub(crate) struct Explored {
    /// Different states.
    pub(crate) states: usize,
    /// How many moves it took to get to the last of them.
    pub(crate) depth: usize,
    pub(crate) took: Duration,
    /// The first law that was seen broken, and the way there.
    pub(crate) found: Option<(Law, Vec<Act>)>,
}

/// Explores a configuration until all of it is seen or a law is broken.
pub(crate) fn explore(config: &Config, mutant: Option<Mutant>, coverage: &Arc<Coverage>) -> Explored {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Model::new(config.clone(), mutant, Arc::clone(coverage));
    let checker =
        model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries().into_iter().map(|(name, path)| (law(name), path.into_actions()));
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        found: found.min_by_key(|(law, path)| (path.len(), *law)),
    }
}

/// Which laws a mutant breaks within so many moves, its first one included. Where a law is broken nothing more is explored.
pub(crate) fn broken_by(config: &Config, mutant: Mutant, moves_max: usize) -> BTreeSet<Law> {
    let model = Model::new(config.clone(), Some(mutant), Arc::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AllFailures)
        .target_state_count(moves_max)
        .spawn_bfs()
        .join();
    checker.discoveries().into_keys().map(law).collect()
}

fn law(name: &str) -> Law {
    Law::ALL.into_iter().find(|law| law.name() == name).expect("every property is a law")
}

/// Tells a way through the model, move by move, up to the law that is broken there.
pub(crate) fn tell(config: &Config, mutant: Option<Mutant>, path: &[Act]) -> String {
    let model = Model::new(config.clone(), mutant, Arc::default());
    let first = model.init_states().remove(0).world;
    let mut world: World = first;
    let mut text = String::new();
    for (at, act) in path.iter().enumerate() {
        // Only the last fair run is of interest.
        let mut tale = Tale::told();
        world = model.after(&world, *act, &mut tale).unwrap_or(world);
        let lines = tale.lines();
        let is_last = at + 1 == path.len();
        let shown = lines.iter().take_while(|line| is_last || !line.starts_with("-- a fair run"));
        text += &format!("{:>3}. {act:?}\n", at + 1);
        shown.for_each(|line| text += &format!("     {line}\n"));
    }
    text
}
