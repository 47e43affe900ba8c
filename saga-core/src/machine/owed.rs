//! What must still be done.

use super::instance::Instance;
use super::state::{Callback, Forward, Phase, Undo};
use crate::record::{Action, Announcement, Entry, Fact, Payload, StepIndex, Timestamp};
use crate::wire::Known;

/// Something a saga owes the world until its answer is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Send a command.
    Command {
        /// The step.
        step: StepIndex,
        /// What is asked.
        action: Action,
        /// In which round.
        round: u32,
    },
    /// Publish an announcement.
    Announce(Announcement),
    /// Make the callback.
    Callback {
        /// Which attempt, from 1.
        attempt: u32,
        /// Not before this.
        not_before: Timestamp,
    },
}

impl Instance {
    /// Everything that must still be done, in the order of the steps: the same live or after a crash.
    pub fn owed(&self) -> Vec<Effect> {
        self.all_owed().collect()
    }

    pub(super) fn all_owed(&self) -> impl Iterator<Item = Effect> {
        self.open_commands()
            .chain(self.open_announcements().map(Effect::Announce))
            .chain(self.open_callback())
    }

    fn open_callback(&self) -> Option<Effect> {
        match self.state.callback {
            Callback::Owed { attempts, next_at } => {
                Some(Effect::Callback { attempt: attempts.saturating_add(1), not_before: next_at })
            }
            _ => None,
        }
    }

    /// What these entries, the last of this saga, newly owe: what a live coordinator performs without looking at the whole saga. Never
    /// more than [`owed`](Self::owed), and all of it that was not owed before.
    pub fn newly_owed(&self, entries: &[Entry]) -> Vec<Effect> {
        let mut owed = Vec::new();
        let (mut went_forward, mut turned) = (false, false);
        for entry in entries {
            let sent = match &entry.fact {
                Fact::Dispatched { step, round, .. } => (*step, Action::Execute, *round),
                Fact::UndoDispatched { step, action, round } => (*step, *action, *round),
                Fact::Resolving { step, round, .. } => (*step, Action::Fence, *round),
                fact => {
                    went_forward |= matches!(fact, Fact::WentForward);
                    turned |= matches!(fact, Fact::Unwinding { .. } | Fact::Ended { .. });
                    continue;
                }
            };
            // What is owed no more, or in a later round, has its own entry.
            let (step, action, round) = sent;
            let command = Effect::Command { step, action, round };
            owed.extend(self.open_command(step).filter(|open| *open == command));
        }
        if went_forward {
            // What was in flight when it turned back is owed again.
            owed = self.open_commands().collect();
        }
        if turned {
            owed.extend(self.open_announcements().map(Effect::Announce));
        }
        owed.extend(self.open_callback());
        owed
    }

    pub(super) fn open_commands(&self) -> impl Iterator<Item = Effect> {
        self.definition.indices().filter_map(|step| self.open_command(step))
    }

    /// The command that a step waits to be answered, if any.
    pub(super) fn open_command(&self, step: StepIndex) -> Option<Effect> {
        let it = &self.state.steps[step.at()];
        let action = match (self.state.phase, &it.undo, &it.forward) {
            (Phase::Ended { .. }, _, _) => return None,
            _ if it.resolving.is_some() => Action::Fence,
            (Phase::Unwinding, Undo::Running { action }, _) => *action,
            (Phase::Forward | Phase::Failing { .. }, _, Forward::Running) => Action::Execute,
            _ => return None,
        };
        Some(Effect::Command { step, action, round: it.round })
    }

    /// When an effect became owed.
    pub(crate) fn owed_since(&self, effect: Effect) -> Timestamp {
        match effect {
            Effect::Command { step, action: Action::Execute, .. } => {
                self.state.steps[step.at()].dispatched_at
            }
            Effect::Command { step, .. } => {
                self.state.steps[step.at()].undo_at.unwrap_or(self.state.changed_at)
            }
            Effect::Announce(Announcement::Unwinding) => {
                self.state.unwound_at.unwrap_or(self.state.changed_at)
            }
            Effect::Announce(_) => match self.state.phase {
                Phase::Ended { at, .. } => at,
                Phase::Forward | Phase::Failing { .. } | Phase::Unwinding => self.state.changed_at,
            },
            Effect::Callback { not_before, .. } => not_before,
        }
    }

    /// What a step was given, and when it was first dispatched, in whatever round: that none of its rounds ran is proven only to a
    /// participant that has forgotten nothing since then.
    pub fn step_input(&self, step: StepIndex) -> (&Payload, Timestamp) {
        let it = &self.state.steps[step.at()];
        (&it.input, it.first_dispatched_at.unwrap_or(it.dispatched_at))
    }

    /// What an undo or a fence is told of its step.
    pub fn known(&self, step: StepIndex) -> Known {
        match &self.state.steps[step.at()].forward {
            Forward::Done(output) => Known::Succeeded(Some(output.clone())),
            Forward::Failed(_) => Known::Failed,
            Forward::Waiting
            | Forward::Running
            | Forward::Rejected(_)
            | Forward::Unanswered
            | Forward::Blocked(_) => Known::Unknown,
        }
    }

    /// The output of a step that is done.
    pub fn output(&self, step: StepIndex) -> Option<&Payload> {
        match &self.state.steps.get(step.at())?.forward {
            Forward::Done(output) => Some(output),
            _ => None,
        }
    }
}
