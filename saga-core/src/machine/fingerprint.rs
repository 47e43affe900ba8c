//! For the model check: what tells two states of a saga apart, as far as what can still happen goes.
//!
//! Times that no later decision looks at are left out, and so is what the rest determines. Everything of a step is hashed with the step, so
//! that a checker can take sagas that differ only in which of two like steps is which for one.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::instance::Instance;
use super::state::{Callback, Forward, Phase};
use crate::record::StepIndex;

impl Instance {
    /// Whether both are the same saga in every detail, times included.
    #[doc(hidden)]
    pub fn is_same(&self, other: &Self) -> bool {
        self.state == other.state
    }

    /// Hashes what matters of one step.
    #[doc(hidden)]
    pub fn hash_step(&self, step: StepIndex, hasher: &mut impl Hasher) {
        let it = &self.state.steps[step.at()];
        (&it.forward, it.round, &it.undo, it.undo_at.is_some(), &it.resolving).hash(hasher);
        it.first_dispatched_at.hash(hasher);
        if it.forward == Forward::Running {
            it.dispatched_at.hash(hasher);
        }
    }

    /// Hashes what matters of the saga beside its steps.
    #[doc(hidden)]
    pub fn hash_rest(&self, hasher: &mut impl Hasher) {
        let state = &self.state;
        match state.phase {
            Phase::Forward => 0.hash(hasher),
            Phase::Failing { since, until } => {
                (1, until, until.is_some_and(|until| until <= since)).hash(hasher)
            }
            Phase::Unwinding => 2.hash(hasher),
            Phase::Ended { ending, at: _ } => (3, ending).hash(hasher),
        }
        let cause = state.cause.as_ref().map(discriminant);
        (state.unwound_at.is_some(), cause, state.parked.is_some(), state.overdue).hash(hasher);
        match &state.callback {
            Callback::Owed { attempts, next_at: _ } => (1, attempts).hash(hasher),
            callback => (0, discriminant(callback)).hash(hasher),
        }
        (state.announcements, &state.held).hash(hasher);
    }
}
