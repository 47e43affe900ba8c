//! Making a failure small: leaving out faults and sagas as long as the same law is broken.

use crate::laws::Law;
use crate::mutants::Mutant;
use crate::plan::Plan;
use crate::run::run;
use crate::trace::Wanted;

/// A plan of which nothing more can be left out, and what is left of it.
pub(crate) struct Shrunk {
    pub(crate) plan: Plan,
    /// As the command line takes it.
    pub(crate) only: String,
}

/// Shrinks a plan that breaks a law.
pub(crate) fn shrink(plan: &Plan, mutant: Option<Mutant>, law: Law) -> Shrunk {
    let mut kept = Kept { faults: (0..plan.faults.len()).collect(), loads: (0..plan.loads.len()).collect() };
    let breaks = |kept: &Kept| {
        let ran = run(&kept.of(plan), mutant, Wanted::Nothing);
        ran.broken.is_some_and(|broken| broken.law == law)
    };
    // Leaving one out may make another dispensable.
    while leave_out(&mut kept, |kept| &mut kept.faults, &breaks)
        | leave_out(&mut kept, |kept| &mut kept.loads, &breaks)
    {}
    Shrunk { plan: kept.of(plan), only: kept.shown() }
}

/// What is kept of a plan, by its places there.
#[derive(Clone)]
pub(crate) struct Kept {
    faults: Vec<usize>,
    loads: Vec<usize>,
}

impl Kept {
    fn of(&self, plan: &Plan) -> Plan {
        Plan {
            faults: self.faults.iter().filter_map(|at| plan.faults.get(*at).cloned()).collect(),
            loads: self.loads.iter().filter_map(|at| plan.loads.get(*at).cloned()).collect(),
            ..plan.clone()
        }
    }

    fn shown(&self) -> String {
        let list = |places: &[usize]| places.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        format!("{}/{}", list(&self.faults), list(&self.loads))
    }

    /// Reads what was shown: the places of faults and of sagas.
    fn parse(text: &str) -> Option<Self> {
        let (faults, loads) = text.split_once('/')?;
        let list = |text: &str| -> Option<Vec<usize>> {
            text.split(',').filter(|place| !place.is_empty()).map(|place| place.parse().ok()).collect()
        };
        Some(Self { faults: list(faults)?, loads: list(loads)? })
    }
}

/// A plan with only these faults and sagas, given as `faults/sagas`.
pub(crate) fn only(plan: &Plan, text: &str) -> Option<Plan> {
    Kept::parse(text).map(|kept| kept.of(plan))
}

/// Leaves out what can be, one by one, and says whether anything could.
fn leave_out(kept: &mut Kept, of: fn(&mut Kept) -> &mut Vec<usize>, breaks: &impl Fn(&Kept) -> bool) -> bool {
    let before = of(kept).len();
    for at in (0..before).rev() {
        let mut fewer = kept.clone();
        of(&mut fewer).remove(at);
        if breaks(&fewer) {
            *kept = fewer;
        }
    }
    of(kept).len() < before
}
