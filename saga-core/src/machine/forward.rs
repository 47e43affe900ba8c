//! Going forward: dispatching what is ready, failing, deadlines.

use super::decide::Deciding;
use super::state::{Forward, Phase, State};
use crate::definition::{Definition, FailurePolicy, Uncomputable};
use crate::record::{Cause, Ending, Fact, Payload, StepIndex, Timestamp};

impl Deciding<'_> {
    /// Dispatches what is ready, ends the saga when all is done, parks it when only an operator can go on.
    pub(super) fn go_forward(&mut self) {
        while let Some(&step) = self.state.ready.front() {
            self.dispatch(step, 0);
        }
        if self.state.done == self.state.steps.len() {
            self.record(Fact::Ended { ending: Ending::Completed });
        } else if self.state.running == 0 && self.state.resolving == 0 {
            self.park_forward();
        }
    }

    /// Computes a step's input and dispatches it, `rounds` rounds later than its current one.
    pub(super) fn dispatch(&mut self, step: StepIndex, rounds: u32) {
        let round = self.state.steps[step.at()].round + rounds;
        match self.input_of(step) {
            Ok(input) => self.record(Fact::Dispatched { step, round, input }),
            Err(Uncomputable(reason)) => self.record(Fact::Blocked { step, reason: reason.into() }),
        }
    }

    fn input_of(&mut self, step: StepIndex) -> Result<Payload, Uncomputable> {
        let decoded = match self.decoded.take() {
            Some(decoded) => decoded,
            None => self.definition.decode(&self.state.input)?,
        };
        let outputs = self.definition.step(step).after.iter().map(|before| {
            match &self.state.steps[before.at()].forward {
                Forward::Done(output) => output,
                other => unreachable!("a step is ready when all it waits for are done, not {other:?}"),
            }
        });
        let input = self.definition.step_input(step, &decoded, &outputs.collect::<Vec<_>>());
        self.decoded = Some(decoded);
        input
    }

    /// The first failure: decides how long those in flight may still finish.
    pub(super) fn fail(&mut self, cause: Cause) {
        let until = match (&cause, self.definition.policy) {
            (Cause::SagaDeadline, _) | (_, FailurePolicy::FailFast) => Some(self.now),
            // The saga's deadline, which would end the wait, has passed already.
            (_, FailurePolicy::WaitAll) if self.state.overdue => Some(self.now),
            (_, FailurePolicy::WaitAll) => None,
            (_, FailurePolicy::Grace(grace)) => Some(self.now.after(grace)),
        };
        self.record(Fact::Failing { cause, until });
    }

    /// A step has failed. Before the point of no return that turns the saga back; after it, the step is stuck. A pivot that does not
    /// answer in time turns it back too: a fence then finds out on which side of that point the saga is.
    pub(super) fn step_failed(&mut self, step: StepIndex, cause: Cause) {
        let is_silent_pivot =
            self.definition.pivot == Some(step) && matches!(cause, Cause::StepDeadline { .. });
        let turns_back = is_silent_pivot || !self.state.is_point_of_no_return(self.definition);
        if self.state.phase == Phase::Forward && turns_back {
            self.fail(cause);
        }
    }

    /// Fires the deadlines up to `due`, each judged by itself: that an early one fires says nothing of a later one.
    pub(super) fn deadlines(&mut self, due: Timestamp) {
        if matches!(self.state.phase, Phase::Forward | Phase::Failing { .. }) {
            self.step_deadlines(due);
            self.saga_deadline(due);
        }
        if let Phase::Failing { until: Some(until), .. } = self.state.phase
            && until <= due
        {
            self.begin_unwinding();
        }
    }

    fn step_deadlines(&mut self, due: Timestamp) {
        for step in self.definition.indices() {
            let it = &self.state.steps[step.at()];
            let Some(deadline) = self.definition.step(step).deadline else { continue };
            if it.forward == Forward::Running && it.dispatched_at.after(deadline) <= due {
                self.record(Fact::TimedOut { step });
                self.step_failed(step, Cause::StepDeadline { step });
            }
        }
    }

    fn saga_deadline(&mut self, due: Timestamp) {
        let Some(deadline) = self.definition.deadline else { return };
        if self.state.overdue || self.state.started_at.after(deadline) > due {
            return;
        }
        match self.state.phase {
            // It is turning back already; the deadline ends the wait for those in flight.
            Phase::Failing { .. } => self.begin_unwinding(),
            _ if self.state.is_point_of_no_return(self.definition) => self.record(Fact::Overdue),
            _ => self.fail(Cause::SagaDeadline),
        }
    }

    fn park_forward(&mut self) {
        if self.state.parked.is_some() {
            return;
        }
        let stuck = self.definition.indices().filter_map(|index| {
            let reason = match &self.state.steps[index.at()].forward {
                Forward::Rejected(reason) | Forward::Failed(reason) | Forward::Blocked(reason) => reason,
                Forward::Unanswered => "no answer before its deadline",
                Forward::Waiting | Forward::Running | Forward::Done(_) => return None,
            };
            Some(format!("{}: {reason}", self.definition.step_name(index)))
        });
        let reason = stuck.collect::<Vec<_>>().join("; ").into();
        self.record(Fact::Parked { reason });
    }
}

impl State {
    /// Whether the pivot was dispatched, and not cleanly refused: from here on the saga is not turned back by will or by time.
    pub(super) fn is_point_of_no_return(&self, definition: &Definition) -> bool {
        definition.pivot.is_some_and(|pivot| {
            !matches!(
                self.steps[pivot.at()].forward,
                Forward::Waiting | Forward::Blocked(_) | Forward::Rejected(_)
            )
        })
    }
}
