//! The one place where a saga's state changes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::instance::Corrupt;
use super::state::{Announcements, Callback, Forward, Phase, Plan, State, Step, Undo};
use super::unwind::remove;
use crate::definition::Definition;
use crate::record::{
    Action, Ending, Entry, Fact, FenceAnswer, Payload, Resolution, StepIndex, Timestamp, Verb,
};

/// What is wrong with an entry.
type Problem = String;

impl State {
    /// The state after a saga's first entry.
    pub(super) fn new(definition: &Definition, first: &Entry) -> Result<Self, Corrupt> {
        let corrupt = |problem: String| Corrupt { position: 0, problem };
        let Fact::Started { run, definition: pinned, input, traceparent } = &first.fact else {
            return Err(corrupt(format!("a saga begins with `started`, not {:?}", first.fact)));
        };
        if *pinned != definition.id {
            return Err(corrupt(format!("the saga is pinned to {pinned}, not to {}", definition.id)));
        }
        let steps: Box<[Step]> = definition.steps.iter().map(|step| Step::new(step.after.len())).collect();
        let ready = definition.indices().filter(|step| definition.step(*step).after.is_empty()).collect();
        Ok(Self {
            run: *run,
            input: input.clone(),
            started_at: first.at,
            traceparent: traceparent.clone(),
            changed_at: first.at,
            version: 1,
            phase: Phase::Forward,
            unwound_at: None,
            cause: None,
            parked: None,
            steps,
            ready,
            running: 0,
            done: 0,
            plan: Plan::default(),
            resolving: 0,
            overdue: false,
            announcements: Announcements::default(),
            callback: Callback::None,
            held: VecDeque::new(),
        })
    }

    pub(super) fn apply(&mut self, definition: &Definition, entry: &Entry) -> Result<(), Problem> {
        let at = entry.at;
        self.check_fits(&entry.fact)?;
        if is_progress(&entry.fact) {
            self.parked = None;
        }
        match &entry.fact {
            Fact::Started { .. } => unreachable!("it fits no saga that is there"),
            Fact::Dispatched { step, round, input } => self.dispatched(*step, *round, input, at)?,
            Fact::Blocked { step, reason } => self.blocked(*step, reason)?,
            Fact::Succeeded { step, output } | Fact::LateSuccess { step, output } => {
                self.succeeded(definition, *step, output)?;
            }
            Fact::Rejected { step, reason } => self.verdict(*step, Forward::Rejected(Arc::clone(reason)))?,
            Fact::Failed { step, reason, raw: _ } => {
                self.verdict(*step, Forward::Failed(Arc::clone(reason)))?;
            }
            Fact::TimedOut { step } => self.verdict(*step, Forward::Unanswered)?,
            Fact::Overdue => self.overdue = true,
            Fact::Failing { cause, until } => {
                self.cause = Some(cause.clone());
                self.phase = Phase::Failing { since: at, until: *until };
            }
            Fact::Unwinding { plan } => {
                self.freeze(definition, plan)?;
                self.phase = Phase::Unwinding;
                self.unwound_at = Some(at);
            }
            Fact::UndoDispatched { step, action, round } => {
                self.undo_dispatched(*step, *action, *round, at)?
            }
            Fact::Undone { step } => self.undo_gone(definition, *step)?,
            Fact::UndoFailed { step, round: _, reason } => self.undo_stuck(*step, reason)?,
            Fact::Fenced { step, answer } => self.fenced(definition, *step, answer)?,
            Fact::WentForward => self.went_forward(),
            Fact::Resolving { step, round, resolution } => self.resolving(*step, *round, resolution, at)?,
            Fact::Resolved { step, resolution } => self.resolved(definition, *step, resolution)?,
            Fact::Parked { reason } => self.parked = Some(Arc::clone(reason)),
            Fact::Operated { operation } => self.operated(&operation.verb, at),
            Fact::Ended { ending } => self.ended(definition, *ending, at),
            Fact::Announced { announcement } | Fact::AnnouncementRefused { announcement, .. } => {
                self.announcements.settle(*announcement);
            }
            Fact::CallbackFailed { attempt, .. } => {
                let next_at = at.after(definition.callback_retry.delay(*attempt));
                self.callback = Callback::Owed { attempts: *attempt, next_at };
            }
            Fact::CallbackAnswered => self.callback = Callback::Answered,
            Fact::CallbackRefused { reason } => self.callback = Callback::Refused(Arc::clone(reason)),
            Fact::Held { input } => self.held.push_back(input.clone()),
            Fact::HeldTaken => {
                self.held.pop_front().ok_or("nothing is held")?;
            }
            // It is there to be read.
            Fact::OperationRefused { .. } => {}
        }
        self.version += 1;
        self.changed_at = at;
        Ok(())
    }

    pub(super) fn step_mut(&mut self, step: StepIndex) -> Result<&mut Step, Problem> {
        self.steps.get_mut(step.at()).ok_or_else(|| format!("there is no step number {}", step.0))
    }

    fn dispatched(
        &mut self,
        step: StepIndex,
        round: u32,
        input: &Payload,
        at: Timestamp,
    ) -> Result<(), Problem> {
        remove(&mut self.ready, step);
        let it = self.step_mut(step)?;
        if matches!(it.forward, Forward::Running | Forward::Done(_)) {
            return Err(format!("step number {} is dispatched twice", step.0));
        }
        it.check_waits_for_nothing(step)?;
        it.forward = Forward::Running;
        it.round = round;
        it.dispatched_at = at;
        it.first_dispatched_at.get_or_insert(at);
        it.input = input.clone();
        self.running += 1;
        Ok(())
    }

    fn blocked(&mut self, step: StepIndex, reason: &Arc<str>) -> Result<(), Problem> {
        remove(&mut self.ready, step);
        let it = self.step_mut(step)?;
        if !matches!(it.forward, Forward::Waiting | Forward::Blocked(_)) {
            return Err(format!("step number {} is blocked after it was dispatched", step.0));
        }
        it.check_waits_for_nothing(step)?;
        it.forward = Forward::Blocked(Arc::clone(reason));
        Ok(())
    }

    fn succeeded(
        &mut self,
        definition: &Definition,
        step: StepIndex,
        output: &Payload,
    ) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        if matches!(it.forward, Forward::Done(_) | Forward::Waiting) {
            return Err(format!("step number {} succeeds without being in flight", step.0));
        }
        let was_running = it.forward == Forward::Running;
        it.forward = Forward::Done(output.clone());
        self.running -= usize::from(was_running);
        self.done += 1;
        for dependent in &definition.step(step).dependents {
            let waiting = self.step_mut(*dependent)?;
            waiting.waits_for -= 1;
            if waiting.waits_for == 0 {
                self.ready.push_back(*dependent);
            }
        }
        Ok(())
    }

    fn verdict(&mut self, step: StepIndex, verdict: Forward) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        let was_running = match it.forward {
            Forward::Running => true,
            Forward::Unanswered => false,
            _ => return Err(format!("step number {} has a verdict without being in flight", step.0)),
        };
        it.forward = verdict;
        self.running -= usize::from(was_running);
        Ok(())
    }

    fn undo_dispatched(
        &mut self,
        step: StepIndex,
        action: Action,
        round: u32,
        at: Timestamp,
    ) -> Result<(), Problem> {
        remove(&mut self.plan.ready, step);
        let it = self.step_mut(step)?;
        if !matches!(it.undo, Undo::Planned { .. } | Undo::Stuck { .. }) {
            return Err(format!("the undo of step number {} is sent without being open", step.0));
        }
        it.undo = Undo::Running { action };
        it.round = round;
        it.undo_at = Some(at);
        self.plan.running += 1;
        Ok(())
    }

    fn undo_stuck(&mut self, step: StepIndex, reason: &Arc<str>) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        let Undo::Running { action } = it.undo else {
            return Err(format!("the undo of step number {} fails without being in flight", step.0));
        };
        it.undo = Undo::Stuck { action, reason: Arc::clone(reason) };
        self.plan.running -= 1;
        Ok(())
    }

    /// What a fence found out is what the step is from now on. A pivot that is done sends the saga forward.
    fn fenced(
        &mut self,
        definition: &Definition,
        step: StepIndex,
        answer: &FenceAnswer,
    ) -> Result<(), Problem> {
        let forward = &self.step_mut(step)?.forward;
        match answer {
            FenceAnswer::Unknown if definition.pivot == Some(step) => {
                let reason = match forward {
                    Forward::Failed(reason) => Arc::clone(reason),
                    _ => "nobody knows whether the pivot had an effect".into(),
                };
                return self.undo_stuck(step, &reason);
            }
            FenceAnswer::Done { output } if !matches!(forward, Forward::Done(_)) => {
                self.succeeded(definition, step, output)?;
            }
            FenceAnswer::NoEffect | FenceAnswer::Done { .. } | FenceAnswer::Unknown => {}
        }
        self.undo_gone(definition, step)?;
        if *answer != FenceAnswer::NoEffect {
            self.step_mut(step)?.undo = Undo::Sealed;
        }
        Ok(())
    }

    /// It is known from now on that the step has done nothing and will do nothing: a success that still comes is not believed.
    fn no_effect(&mut self, step: StepIndex, reason: &str) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        let was_running = it.forward == Forward::Running;
        it.forward = Forward::Rejected(reason.into());
        self.running -= usize::from(was_running);
        Ok(())
    }

    /// The plan is void, and with it that the saga failed: what is in flight goes on, what has failed stays failed.
    fn went_forward(&mut self) {
        self.phase = Phase::Forward;
        self.cause = None;
        self.unwound_at = None;
        self.plan = Plan::default();
        for step in &mut self.steps {
            step.undo = Undo::None;
        }
    }

    fn resolving(
        &mut self,
        step: StepIndex,
        round: u32,
        resolution: &Resolution,
        at: Timestamp,
    ) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        let was_resolving = it.resolving.replace(Box::new(resolution.clone())).is_some();
        it.round = round;
        it.undo_at = Some(at);
        self.resolving += usize::from(!was_resolving);
        Ok(())
    }

    fn resolved(
        &mut self,
        definition: &Definition,
        step: StepIndex,
        resolution: &Resolution,
    ) -> Result<(), Problem> {
        let it = self.step_mut(step)?;
        if it.resolving.take().is_none() {
            return Err(format!("step number {} is resolved without being asked", step.0));
        }
        let (in_plan, done) = (it.is_open_in_plan(), matches!(it.forward, Forward::Done(_)));
        self.resolving -= 1;
        match resolution {
            Resolution::Done { output } if !done => self.succeeded(definition, step, output)?,
            Resolution::NoEffect if !done => self.no_effect(step, "resolved as without effect")?,
            Resolution::Done { .. } | Resolution::NoEffect | Resolution::Undone => {}
        }
        if in_plan { self.undo_gone(definition, step) } else { Ok(()) }
    }

    fn operated(&mut self, verb: &Verb, at: Timestamp) {
        if matches!(self.callback, Callback::Refused(_)) {
            match verb {
                Verb::Retry { .. } => self.callback = Callback::Owed { attempts: 0, next_at: at },
                Verb::Abandon => self.callback = Callback::GivenUp,
                Verb::Resolve { .. } => {}
            }
        }
    }

    fn ended(&mut self, definition: &Definition, ending: Ending, at: Timestamp) {
        self.phase = Phase::Ended { ending, at };
        if definition.callbacks.contains_key(&ending) {
            self.callback = Callback::Owed { attempts: 0, next_at: at };
        }
    }
}

impl Step {
    const fn new(waits_for: usize) -> Self {
        Self {
            forward: Forward::Waiting,
            round: 1,
            dispatched_at: Timestamp::from_millis(0),
            first_dispatched_at: None,
            input: Payload::empty(),
            waits_for,
            undo: Undo::None,
            undo_at: None,
            resolving: None,
        }
    }

    fn check_waits_for_nothing(&self, step: StepIndex) -> Result<(), Problem> {
        if self.waits_for > 0 {
            return Err(format!("the turn of step number {} comes before all it waits for is done", step.0));
        }
        Ok(())
    }
}

/// Whether a parked saga moves again by this.
const fn is_progress(fact: &Fact) -> bool {
    !matches!(
        fact,
        Fact::Overdue
            | Fact::Parked { .. }
            | Fact::Announced { .. }
            | Fact::AnnouncementRefused { .. }
            | Fact::Held { .. }
            | Fact::HeldTaken
            | Fact::OperationRefused { .. }
            | Fact::LateSuccess { .. }
    )
}
