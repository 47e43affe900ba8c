//! What must hold, by name.

use std::fmt;
use std::sync::Arc;

use saga_core::Kind;
use saga_core::record::Status;
use stateright::Property;

use crate::model::Model;
use crate::world::{Seen, World};

/// A property of every reachable state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Law {
    Ends,
    Once,
    NothingLeft,
    NothingMissing,
    Cause,
    Dependencies,
    Order,
    Pivot,
    Deadline,
    OneCallback,
    Replay,
    Acknowledged,
    FinalEnd,
    NoPanic,
}

/// A law that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) how: Arc<str>,
}

impl Law {
    pub(crate) const ALL: [Self; 14] = [
        Self::Ends,
        Self::Once,
        Self::NothingLeft,
        Self::NothingMissing,
        Self::Cause,
        Self::Dependencies,
        Self::Order,
        Self::Pivot,
        Self::Deadline,
        Self::OneCallback,
        Self::Replay,
        Self::Acknowledged,
        Self::FinalEnd,
        Self::NoPanic,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ends => "once faults stop, it ends or is parked, and an operator can end what is parked",
            Self::Once => "no effect twice",
            Self::NothingLeft => "no effect left after undo or fence",
            Self::NothingMissing => "completed means that every effect is there",
            Self::Cause => "no undo without cause",
            Self::Dependencies => "nothing before its dependencies",
            Self::Order => "nothing undone before what depends on it",
            Self::Pivot => "nothing undone after the pivot",
            Self::Deadline => "no deadline fires over an older reply that is unread",
            Self::OneCallback => "one callback id per end",
            Self::Replay => "replay of the log equals the live state",
            Self::Acknowledged => "nothing is acknowledged before its consequences are in the log",
            Self::FinalEnd => "an end is final",
            Self::NoPanic => "nothing panics",
        }
    }

    pub(crate) fn broken(self, how: impl fmt::Display) -> Broken {
        Broken { law: self, how: how.to_string().into() }
    }
}

/// The laws as the checker takes them.
pub(crate) fn properties() -> Vec<Property<Model>> {
    const fn kept<const LAW: usize>(_: &Model, seen: &Seen) -> bool {
        match &seen.world.broken {
            Some(broken) => broken.law as usize != LAW,
            None => true,
        }
    }
    let conditions: [fn(&Model, &Seen) -> bool; 14] = [
        kept::<0>, kept::<1>, kept::<2>, kept::<3>, kept::<4>, kept::<5>, kept::<6>, kept::<7>, kept::<8>,
        kept::<9>, kept::<10>, kept::<11>, kept::<12>, kept::<13>,
    ];
    Law::ALL.iter().map(|law| Property::always(law.name(), conditions[*law as usize])).collect()
}

/// What the outside world must look like once everything has come to rest.
pub(crate) fn at_rest(model: &Model, world: &World) -> Option<Broken> {
    let status = world.saga.as_ref()?.instance.status();
    for (step, party) in world.parties.iter().enumerate() {
        let (kind, ledger) = (model.config.steps[step].kind, &party.ledger);
        let is_forbidden = match status {
            Status::RolledBack if kind == Kind::NoUndo => ledger.fenced_round.is_some(),
            Status::RolledBack => true,
            _ => ledger.is_undone,
        };
        if ledger.effect && is_forbidden {
            return Some(Law::NothingLeft.broken(format!("{status}, but the effect of step {step} remains")));
        }
        if status == Status::Completed && !ledger.effect {
            return Some(Law::NothingMissing.broken(format!("{status}, but step {step} has no effect")));
        }
    }
    None
}
