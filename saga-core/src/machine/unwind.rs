//! Unwinding: the plan, frozen when it begins, and its order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use super::decide::Deciding;
use super::state::{Forward, State, Undo};
use crate::contract::Kind;
use crate::definition::Definition;
use crate::record::{Action, Ending, Fact, PlanItem, StepIndex};

impl Deciding<'_> {
    pub(super) fn begin_unwinding(&mut self) {
        let plan = self.state.plan(self.definition);
        self.record(Fact::Unwinding { plan });
    }

    /// Sends what can be sent, ends the saga when nothing is left, parks it when only an operator can go on.
    pub(super) fn unwind(&mut self) {
        while let Some(&step) = self.state.plan.ready.front() {
            let it = &self.state.steps[step.at()];
            let Undo::Planned { action } = it.undo else { unreachable!("only planned items are ready") };
            let round = it.round;
            self.record(Fact::UndoDispatched { step, action, round });
        }
        if self.state.plan.open == 0 {
            self.record(Fact::Ended { ending: Ending::RolledBack });
        } else if self.state.plan.running == 0 && self.state.resolving == 0 {
            self.park_unwinding();
        }
    }

    fn park_unwinding(&mut self) {
        if self.state.parked.is_some() {
            return;
        }
        let stuck = self.definition.indices().filter_map(|index| match &self.state.steps[index.at()].undo {
            Undo::Stuck { action, reason } => {
                Some(format!("{action} of {}: {reason}", self.definition.step_name(index)))
            }
            Undo::None | Undo::Planned { .. } | Undo::Running { .. } | Undo::Gone | Undo::Sealed => None,
        });
        let reason = stuck.collect::<Vec<_>>().join("; ").into();
        self.record(Fact::Parked { reason });
    }
}

impl State {
    /// Every step dispatched and not cleanly refused, in reverse topological order, ties by declaration. What cannot be undone and
    /// whose fate is unknown is fenced; what cannot be undone and is known to be done is left alone.
    fn plan(&self, definition: &Definition) -> Vec<PlanItem> {
        reverse_topological(definition)
            .into_iter()
            .filter_map(|step| {
                let forward = &self.steps[step.at()].forward;
                let action = match (definition.step(step).kind, forward) {
                    (_, Forward::Waiting | Forward::Blocked(_) | Forward::Rejected(_)) => return None,
                    (Kind::Compensatable, _) => Action::Undo,
                    (Kind::Pivot, Forward::Failed(_) | Forward::Running | Forward::Unanswered)
                    | (Kind::NoUndo, Forward::Running | Forward::Unanswered) => Action::Fence,
                    (Kind::Pivot | Kind::NoUndo | Kind::Retriable, _) => return None,
                };
                Some(PlanItem { step, action })
            })
            .collect()
    }

    pub(super) fn freeze(&mut self, definition: &Definition, plan: &[PlanItem]) -> Result<(), String> {
        // What an operator declared, to go forward with, is overtaken: the plan's own commands seal what is to be sealed.
        for step in &mut self.steps {
            step.resolving = None;
        }
        self.resolving = 0;
        for item in plan {
            let it = self.step_mut(item.step)?;
            if it.is_open_in_plan() {
                return Err(format!("step number {} is planned twice", item.step.0));
            }
            it.undo = Undo::Planned { action: item.action };
        }
        self.plan.open = plan.len();
        // A pivot in doubt comes first, alone: its answer decides whether there is anything to undo.
        match definition.pivot.filter(|pivot| self.steps[pivot.at()].is_open_in_plan()) {
            Some(pivot) => self.plan.ready.push_back(pivot),
            None => self.release(definition),
        }
        Ok(())
    }

    /// Readies every planned item that waits for nothing.
    fn release(&mut self, definition: &Definition) {
        for step in definition.indices() {
            self.ready_if_free(definition, step);
        }
    }

    /// An item may be sent once no step that depends on its own, directly or not, has an open item.
    fn ready_if_free(&mut self, definition: &Definition, step: StepIndex) {
        let is_planned = matches!(self.steps[step.at()].undo, Undo::Planned { .. });
        if is_planned
            && !self.plan.ready.contains(&step)
            && self.nearest_open(step, |step| &definition.step(step).dependents).is_empty()
        {
            self.plan.ready.push_back(step);
        }
    }

    /// The step's item of the plan is dealt with; those that waited for it may become ready.
    pub(super) fn undo_gone(&mut self, definition: &Definition, step: StepIndex) -> Result<(), String> {
        remove(&mut self.plan.ready, step);
        let it = self.step_mut(step)?;
        if !it.is_open_in_plan() {
            return Err(format!("the undo of step number {} ends without being open", step.0));
        }
        let was_running = matches!(it.undo, Undo::Running { .. });
        it.undo = Undo::Gone;
        self.plan.running -= usize::from(was_running);
        self.plan.open -= 1;
        if definition.pivot == Some(step) {
            self.release(definition);
            return Ok(());
        }
        for before in self.nearest_open(step, |step| &definition.step(step).after) {
            self.ready_if_free(definition, before);
        }
        Ok(())
    }

    /// The open items of the plan that are reached first by following `edges`; steps without an open item are passed through.
    fn nearest_open<'a>(
        &self,
        from: StepIndex,
        edges: impl Fn(StepIndex) -> &'a [StepIndex],
    ) -> Vec<StepIndex> {
        let mut seen = HashSet::new();
        let mut stack = edges(from).to_vec();
        let mut found = Vec::new();
        while let Some(step) = stack.pop() {
            if !seen.insert(step) {
                continue;
            }
            if self.steps[step.at()].is_open_in_plan() {
                found.push(step);
            } else {
                stack.extend_from_slice(edges(step));
            }
        }
        found.sort_unstable();
        found
    }

    /// Whether the pivot is known to be done: there is no way back.
    pub(super) fn is_past_pivot(&self, definition: &Definition) -> bool {
        definition.pivot.is_some_and(|pivot| matches!(self.steps[pivot.at()].forward, Forward::Done(_)))
    }
}

/// Takes a step out of a queue; it is nearly always the first.
pub(super) fn remove(queue: &mut VecDeque<StepIndex>, step: StepIndex) {
    if queue.front() == Some(&step) {
        queue.pop_front();
    } else {
        queue.retain(|queued| *queued != step);
    }
}

/// All steps, dependents before what they depend on, ties by declaration.
fn reverse_topological(definition: &Definition) -> Vec<StepIndex> {
    let mut open: Vec<usize> = definition.steps.iter().map(|step| step.dependents.len()).collect();
    let mut next: BinaryHeap<Reverse<StepIndex>> =
        definition.indices().filter(|step| open[step.at()] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(Reverse(step)) = next.pop() {
        order.push(step);
        for before in &definition.step(step).after {
            open[before.at()] -= 1;
            if open[before.at()] == 0 {
                next.push(Reverse(*before));
            }
        }
    }
    order
}
