//! What a participant's answer does.

use std::sync::Arc;

use super::decide::{Deciding, Impossible};
use super::state::{Forward, Phase, Undo};
use crate::record::{Action, Cause, Fact, FenceAnswer, Payload, Report, StepIndex};

impl Deciding<'_> {
    /// Replies of older rounds, repeated ones, and those after the end change nothing; what was never sent cannot be answered.
    pub(super) fn reply(
        &mut self,
        step: StepIndex,
        action: Action,
        round: u32,
        report: Report,
    ) -> Result<(), Impossible> {
        let not_sent = || Impossible::NotSent {
            step: match self.definition.steps.get(step.at()) {
                Some(known) => Arc::clone(&known.name),
                None => format!("step number {}", step.0).into(),
            },
            action,
            round,
        };
        let it = self.state.steps.get(step.at()).ok_or_else(not_sent)?;
        let was_sent = match action {
            Action::Execute => !matches!(it.forward, Forward::Waiting | Forward::Blocked(_)),
            Action::Undo | Action::Fence => it.undo_at.is_some(),
        };
        if round > it.round || !was_sent {
            return Err(not_sent());
        }
        if !is_answer(action, &report) {
            return Err(Impossible::NoAnswer { step: Arc::clone(self.definition.step_name(step)), action });
        }
        if round == it.round && !matches!(self.state.phase, Phase::Ended { .. }) {
            match report {
                Report::Fenced { answer } => self.fence_reply(step, answer),
                Report::Undone => self.undone(step),
                Report::UndoFailed { reason } => self.undo_failed(step, round, reason),
                report @ (Report::Succeeded { .. } | Report::Rejected { .. } | Report::Failed { .. }) => {
                    self.verdict(step, report);
                }
            }
        }
        Ok(())
    }

    fn verdict(&mut self, step: StepIndex, report: Report) {
        let it = &self.state.steps[step.at()];
        let is_open = matches!(it.forward, Forward::Running | Forward::Unanswered) && it.resolving.is_none();
        if !is_open {
            return;
        }
        if matches!(self.state.phase, Phase::Unwinding) {
            // The plan is frozen: only a success matters, because the undo is told of it.
            if it.is_open_in_plan()
                && let Report::Succeeded { output } = report
                && (self.definition.step(step).check_output)(&output).is_ok()
            {
                self.record(Fact::LateSuccess { step, output });
            }
            return;
        }
        match report {
            Report::Succeeded { output } => self.succeeded(step, output),
            Report::Rejected { reason } => {
                self.record(Fact::Rejected { step, reason: Arc::clone(&reason) });
                self.step_failed(step, Cause::Rejected { step, reason });
            }
            Report::Failed { reason } => self.failed(step, reason, None),
            Report::Undone | Report::UndoFailed { .. } | Report::Fenced { .. } => {
                unreachable!("only verdicts come here")
            }
        }
    }

    fn succeeded(&mut self, step: StepIndex, output: Payload) {
        match (self.definition.step(step).check_output)(&output) {
            Ok(()) => self.record(Fact::Succeeded { step, output }),
            Err(problem) => {
                self.failed(step, undecodable(&problem), Some(output));
            }
        }
    }

    fn failed(&mut self, step: StepIndex, reason: Arc<str>, raw: Option<Payload>) {
        self.record(Fact::Failed { step, reason: Arc::clone(&reason), raw });
        self.step_failed(step, Cause::Failed { step, reason });
    }

    fn undone(&mut self, step: StepIndex) {
        // A round that failed may still be undone by an attempt that was thought lost.
        let is_open = matches!(
            self.state.steps[step.at()].undo,
            Undo::Running { action: Action::Undo } | Undo::Stuck { action: Action::Undo, .. }
        );
        if is_open && self.state.steps[step.at()].resolving.is_none() {
            self.record(Fact::Undone { step });
        }
    }

    fn undo_failed(&mut self, step: StepIndex, round: u32, reason: Arc<str>) {
        if self.state.steps[step.at()].undo == (Undo::Running { action: Action::Undo })
            && self.state.steps[step.at()].resolving.is_none()
        {
            self.record(Fact::UndoFailed { step, round, reason });
        }
    }

    fn fence_reply(&mut self, step: StepIndex, answer: FenceAnswer) {
        let it = &self.state.steps[step.at()];
        if let Some(resolution) = it.resolving.as_deref().cloned() {
            self.record(Fact::Resolved { step, resolution });
            self.after_resolution(step);
        } else if it.undo == (Undo::Running { action: Action::Fence }) {
            let answer = self.usable(step, answer);
            self.record(Fact::Fenced { step, answer });
        }
    }

    /// A pivot that is done with an output that cannot be decoded can neither go forward nor be undone: an operator must say.
    fn usable(&mut self, step: StepIndex, answer: FenceAnswer) -> FenceAnswer {
        let FenceAnswer::Done { output } = &answer else { return answer };
        let Err(problem) = (self.definition.step(step).check_output)(output) else { return answer };
        if matches!(self.state.steps[step.at()].forward, Forward::Running | Forward::Unanswered) {
            let reason = undecodable(&problem);
            self.record(Fact::Failed { step, reason, raw: Some(output.clone()) });
        }
        FenceAnswer::Unknown
    }
}

fn undecodable(problem: &str) -> Arc<str> {
    format!("it succeeded with an output that cannot be decoded: {problem}").into()
}

const fn is_answer(action: Action, report: &Report) -> bool {
    matches!(
        (action, report),
        (Action::Execute, Report::Succeeded { .. } | Report::Rejected { .. } | Report::Failed { .. })
            | (Action::Undo, Report::Undone | Report::UndoFailed { .. })
            | (Action::Fence, Report::Fenced { .. })
    )
}
