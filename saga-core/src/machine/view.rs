use std::sync::Arc;

use super::instance::Instance;
use super::state::{Callback, Forward, Phase, Undo};
use crate::contract::Kind;
use crate::record::{Action, Cause, DefinitionRef, Payload, RunId, Status, StepIndex, Timestamp};

/// A saga as people are shown it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct View {
    /// Which start of its id this is.
    pub run: RunId,
    /// What it is pinned to.
    pub definition: DefinitionRef,
    /// Where it stands.
    pub status: Status,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// Why it is parked, if it is.
    pub parked: Option<Arc<str>>,
    /// Its input.
    pub input: Payload,
    /// When it was started.
    pub started_at: Timestamp,
    /// When its last entry was decided.
    pub changed_at: Timestamp,
    /// Whether its deadline passed after the point of no return.
    pub overdue: bool,
    /// Why the callback was refused, if it was.
    pub callback_refused: Option<Arc<str>>,
    /// Its steps, in the order of declaration.
    pub steps: Vec<StepView>,
}

/// A step as people are shown it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepView {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// How far it is.
    pub state: StepState,
    /// Its round, from 1.
    pub round: u32,
    /// What it returned.
    pub output: Option<Payload>,
    /// Since when its current command is unanswered, if one is.
    pub silent_since: Option<Timestamp>,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepState {
    /// It waits for other steps.
    Waiting,
    /// It was sent and has no verdict.
    Running,
    /// It is done.
    Done,
    /// It was refused, without effect.
    Rejected(Arc<str>),
    /// It failed, perhaps with an effect.
    Failed(Arc<str>),
    /// It did not answer before its deadline.
    Unanswered,
    /// Its input could not be computed.
    Blocked(Arc<str>),
    /// Its undo waits for others.
    UndoPlanned,
    /// Its undo was sent.
    Undoing,
    /// Its fence was sent.
    Fencing,
    /// An operator's decision waits for its barrier row to be sealed.
    Resolving,
    /// Its undo or fence is stuck.
    Stuck(Arc<str>),
    /// No effect of it remains.
    Undone,
}

impl Instance {
    /// What people are shown of it.
    pub fn view(&self) -> View {
        let state = &self.state;
        View {
            run: state.run,
            definition: self.definition.id.clone(),
            status: self.status(),
            cause: state.cause.clone(),
            parked: state.parked.clone(),
            input: state.input.clone(),
            started_at: state.started_at,
            changed_at: state.changed_at,
            overdue: state.overdue,
            callback_refused: match &state.callback {
                Callback::Refused(reason) => Some(Arc::clone(reason)),
                _ => None,
            },
            steps: self.definition.indices().map(|step| self.step_view(step)).collect(),
        }
    }

    fn step_view(&self, step: StepIndex) -> StepView {
        let definition = self.definition.step(step);
        let open = self.open_command(step);
        StepView {
            name: Arc::clone(&definition.name),
            kind: definition.kind,
            state: self.step_state(step),
            round: self.state.steps[step.at()].round,
            output: self.output(step).cloned(),
            silent_since: open.map(|effect| self.owed_since(effect)),
        }
    }

    fn step_state(&self, step: StepIndex) -> StepState {
        let it = &self.state.steps[step.at()];
        if it.resolving.is_some() && !matches!(self.state.phase, Phase::Ended { .. }) {
            return StepState::Resolving;
        }
        match (&it.undo, &it.forward) {
            (Undo::Planned { .. }, _) => StepState::UndoPlanned,
            (Undo::Running { action: Action::Undo }, _) => StepState::Undoing,
            (Undo::Running { .. }, _) => StepState::Fencing,
            (Undo::Stuck { reason, .. }, _) => StepState::Stuck(Arc::clone(reason)),
            (Undo::Gone, _) => StepState::Undone,
            (Undo::Sealed, Forward::Running) => StepState::Unanswered,
            (Undo::None | Undo::Sealed, forward) => match forward {
                Forward::Waiting => StepState::Waiting,
                Forward::Running => StepState::Running,
                Forward::Done(_) => StepState::Done,
                Forward::Rejected(reason) => StepState::Rejected(Arc::clone(reason)),
                Forward::Failed(reason) => StepState::Failed(Arc::clone(reason)),
                Forward::Unanswered => StepState::Unanswered,
                Forward::Blocked(reason) => StepState::Blocked(Arc::clone(reason)),
            },
        }
    }

    /// Why it failed, if it did.
    pub const fn cause(&self) -> Option<&Cause> {
        self.state.cause.as_ref()
    }

    /// Why it is parked, if it is.
    pub const fn parked(&self) -> Option<&Arc<str>> {
        self.state.parked.as_ref()
    }

    /// When it ended, or began to unwind, or changed last.
    pub fn turned_at(&self) -> Timestamp {
        match (self.state.phase, self.state.unwound_at) {
            (Phase::Ended { at, .. }, _) | (_, Some(at)) => at,
            _ => self.state.changed_at,
        }
    }
}
