//! What operators do, and the announcements and callbacks of a saga that has ended.

use std::sync::Arc;

use super::decide::{Deciding, Impossible};
use super::state::{Callback, Forward, Phase, Undo};
use crate::contract::Kind;
use crate::record::{Announcement, Cause, Ending, Fact, NamedVerb, Operation, Resolution, StepIndex, Verb};

impl Deciding<'_> {
    pub(super) fn operate(&mut self, operation: Operation) -> Result<(), Impossible> {
        let verb = operation.verb.clone();
        match verb {
            Verb::Retry { step } => {
                let stuck = self.stuck(step)?;
                self.record(Fact::Operated { operation });
                for step in stuck {
                    self.next_round(step);
                }
            }
            Verb::Resolve { step, resolution } => {
                self.check_resolution(step, &resolution)?;
                self.record(Fact::Operated { operation });
                let round = self.state.steps[step.at()].round.saturating_add(1);
                self.record(Fact::Resolving { step, round, resolution });
            }
            Verb::Abandon => {
                let is_open = match self.state.phase {
                    Phase::Ended { .. } => matches!(self.state.callback, Callback::Refused(_)),
                    Phase::Forward | Phase::Failing { .. } | Phase::Unwinding => true,
                };
                if !is_open {
                    return Err(not_allowed("the saga has ended; there is nothing to abandon"));
                }
                self.record(Fact::Operated { operation });
                if !matches!(self.state.phase, Phase::Ended { .. }) {
                    self.record(Fact::Ended { ending: Ending::Abandoned });
                }
            }
        }
        Ok(())
    }

    /// The same, of a step by its name.
    pub(super) fn operate_named(
        &mut self,
        verb: &NamedVerb,
        who: Arc<str>,
        why: Arc<str>,
    ) -> Result<(), Impossible> {
        let index = |name: &Arc<str>| {
            let step = self.definition.step_index(name);
            step.ok_or_else(|| not_allowed(format!("there is no step {name}")))
        };
        let verb = match verb {
            NamedVerb::Retry { step } => Verb::Retry { step: step.as_ref().map(index).transpose()? },
            NamedVerb::Resolve { step, resolution } => {
                Verb::Resolve { step: index(step)?, resolution: resolution.clone() }
            }
            NamedVerb::Abandon => Verb::Abandon,
        };
        self.operate(Operation { verb, who, why })
    }

    /// What a `retry` of one step, or of all, would try again. Empty when it is only the callback.
    fn stuck(&self, only: Option<StepIndex>) -> Result<Vec<StepIndex>, Impossible> {
        if let Some(step) = only.filter(|step| step.at() >= self.state.steps.len()) {
            return Err(not_allowed(format!("there is no step number {}", step.0)));
        }
        let is_stuck = |step: &StepIndex| {
            let it = &self.state.steps[step.at()];
            match self.state.phase {
                Phase::Forward => it.is_stuck_forward() && it.resolving.is_none(),
                Phase::Unwinding => matches!(it.undo, Undo::Stuck { .. }) && it.resolving.is_none(),
                Phase::Failing { .. } | Phase::Ended { .. } => false,
            }
        };
        let stuck: Vec<_> = self
            .definition
            .indices()
            .filter(|step| only.is_none_or(|only| only == *step))
            .filter(is_stuck)
            .collect();
        let callback_is_refused = only.is_none() && matches!(self.state.callback, Callback::Refused(_));
        if stuck.is_empty() && !callback_is_refused {
            return Err(not_allowed(match only {
                Some(step) => format!("step {} is not stuck", self.definition.step_name(step)),
                None => "nothing of this saga is stuck".to_owned(),
            }));
        }
        Ok(stuck)
    }

    fn next_round(&mut self, step: StepIndex) {
        let it = &self.state.steps[step.at()];
        let round = it.round.saturating_add(1);
        match (self.state.phase, &it.undo, &it.forward) {
            (Phase::Unwinding, Undo::Stuck { action, .. }, _) => {
                let action = *action;
                self.record(Fact::UndoDispatched { step, action, round });
            }
            (Phase::Forward, _, Forward::Blocked(_)) => self.dispatch(step, 1),
            _ => {
                let input = it.input.clone();
                self.record(Fact::Dispatched { step, round, input });
            }
        }
    }

    fn check_resolution(&self, step: StepIndex, resolution: &Resolution) -> Result<(), Impossible> {
        let Some(it) = self.state.steps.get(step.at()) else {
            return Err(not_allowed(format!("there is no step number {}", step.0)));
        };
        let name = self.definition.step_name(step);
        let kind = self.definition.step(step).kind;
        let is_open = match self.state.phase {
            // Before the point of no return a blocked step has had no effect: it is tried again, or the saga cancelled.
            Phase::Forward => it.is_stuck_forward() && self.state.is_point_of_no_return(self.definition),
            Phase::Unwinding => it.is_open_in_plan() && !matches!(it.undo, Undo::Planned { .. }),
            Phase::Failing { .. } | Phase::Ended { .. } => false,
        };
        if !is_open {
            return Err(not_allowed(format!("step {name} is not waiting for a decision")));
        }
        let fits = matches!(
            (self.state.phase, kind, resolution),
            (Phase::Forward, _, Resolution::Done { .. })
                | (Phase::Forward | Phase::Unwinding, Kind::Pivot, Resolution::NoEffect)
                | (Phase::Unwinding, Kind::Pivot, Resolution::Done { .. })
                | (Phase::Unwinding, Kind::Compensatable | Kind::NoUndo, Resolution::Undone)
        );
        if !fits {
            return Err(not_allowed(format!(
                "a {kind} step that is {} cannot be resolved like that",
                self.where_it_is()
            )));
        }
        if let Resolution::Done { output } = resolution {
            (self.definition.step(step).check_output)(output)
                .map_err(|problem| not_allowed(format!("the output does not fit step {name}: {problem}")))?;
        }
        Ok(())
    }

    const fn where_it_is(&self) -> &'static str {
        if matches!(self.state.phase, Phase::Unwinding) { "being undone" } else { "going forward" }
    }

    /// A pivot resolved as without effect turns the saga back.
    pub(super) fn after_resolution(&mut self, step: StepIndex) {
        if let (Phase::Forward, Forward::Rejected(reason)) =
            (self.state.phase, &self.state.steps[step.at()].forward)
        {
            let cause = Cause::Rejected { step, reason: Arc::clone(reason) };
            self.step_failed(step, cause);
        }
    }

    pub(super) fn is_announcement_open(&self, announcement: Announcement) -> bool {
        let is_reached = match (announcement, self.state.phase) {
            (Announcement::Unwinding, _) => self.state.unwound_at.is_some(),
            (_, Phase::Ended { ending, .. }) => Announcement::from(ending) == announcement,
            (_, Phase::Forward | Phase::Failing { .. } | Phase::Unwinding) => false,
        };
        is_reached && !self.state.announcements.is_settled(announcement)
    }

    pub(super) fn callback_answered(&mut self) {
        // An answer counts even after an operator was told that there was none.
        if matches!(self.state.callback, Callback::Owed { .. } | Callback::Refused(_)) {
            self.record(Fact::CallbackAnswered);
        }
    }

    pub(super) fn callback_failed(&mut self, reason: Arc<str>) {
        let Callback::Owed { attempts, .. } = self.state.callback else { return };
        let attempt = attempts.saturating_add(1);
        let spent = self.definition.callback_retry.is_spent(attempt);
        self.record(Fact::CallbackFailed { attempt, reason: Arc::clone(&reason) });
        if spent {
            let reason = format!("given up after {attempt} attempts: {reason}").into();
            self.record(Fact::CallbackRefused { reason });
        }
    }

    pub(super) fn callback_refused(&mut self, reason: Arc<str>) {
        if matches!(self.state.callback, Callback::Owed { .. }) {
            self.record(Fact::CallbackRefused { reason });
        }
    }
}

fn not_allowed(problem: impl Into<String>) -> Impossible {
    Impossible::NotAllowed { problem: problem.into() }
}
