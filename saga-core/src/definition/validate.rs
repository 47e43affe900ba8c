use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::STEPS_MAX;
use super::build_error::{Fault, Problem};
use super::draft::{Draft, StepDraft};
use super::erased::FailurePolicy;
use crate::contract::Kind;
use crate::record::{Retry, Topic, check_name};

/// Everything that keeps a draft from being a definition. Cycles need no check: a step can only wait for steps declared before it.
pub(super) fn problems(draft: &Draft) -> Vec<Problem> {
    let mut found = Vec::new();
    size(draft, &mut found);
    names(draft, &mut found);
    kinds(&draft.steps, &mut found);
    times(draft, &mut found);
    endless(draft, &mut found);
    topics(draft, &mut found);
    found
}

fn size(draft: &Draft, found: &mut Vec<Problem>) {
    match draft.steps.len() {
        0 => found.push(Problem::of_saga(Fault::Empty)),
        count if count > STEPS_MAX => found.push(Problem::of_saga(Fault::TooManySteps(count))),
        _ => {}
    }
}

fn names(draft: &Draft, found: &mut Vec<Problem>) {
    let saga = check_name("saga", &draft.name).err();
    found.extend(saga.map(|error| Problem::of_saga(Fault::Name(error))));
    let replies = Topic::new(Arc::clone(&draft.replies)).err();
    found.extend(replies.map(|error| Problem::of_saga(Fault::Name(error))));
    let mut seen = HashSet::new();
    for step in &draft.steps {
        let name = check_name("step", &step.name).err();
        let contract = check_name("contract", step.contract).err().filter(|_| *step.name != *step.contract);
        let topic = Topic::new(step.topic).err().filter(|_| step.topic != step.contract);
        let errors = [name, contract, topic].into_iter().flatten();
        found.extend(errors.map(|error| Problem::of_step(&step.name, Fault::Name(error))));
        if !seen.insert(&step.name) {
            found.push(Problem::of_step(&step.name, Fault::DuplicateName));
        }
        let mut waited = HashSet::new();
        for earlier in step.after.iter().filter(|earlier| !waited.insert(**earlier)) {
            let twice = Fault::WaitsTwice(Arc::clone(&draft.steps[*earlier].name));
            found.push(Problem::of_step(&step.name, twice));
        }
    }
}

/// At most one pivot; what can be undone comes before it, and only what never fails comes after it.
fn kinds(steps: &[StepDraft], found: &mut Vec<Problem>) {
    let mut pivots = steps.iter().enumerate().filter(|(_, step)| step.kind == Kind::Pivot);
    let Some((at, pivot)) = pivots.next() else {
        let retriable = steps.iter().filter(|step| step.kind == Kind::Retriable);
        found.extend(retriable.map(|step| Problem::of_step(&step.name, Fault::RetriableBeforePivot)));
        return;
    };
    let second = |step: &StepDraft| Problem::of_step(&step.name, Fault::SecondPivot(Arc::clone(&pivot.name)));
    let seconds: Vec<_> = pivots.map(|(_, step)| second(step)).collect();
    if !seconds.is_empty() {
        // Which steps are on the wrong side depends on which pivot stays.
        found.extend(seconds);
        return;
    }
    let (before, after) = (ancestors(steps, at), descendants(steps, at));
    for (i, step) in steps.iter().enumerate() {
        let name = || Arc::clone(&pivot.name);
        let fault = match step.kind {
            Kind::Retriable if !after[i] => Fault::RetriableBeforePivot,
            kind @ (Kind::Compensatable | Kind::NoUndo) if after[i] => {
                Fault::FailsAfterPivot { kind, pivot: name() }
            }
            Kind::Compensatable if !before[i] => Fault::NotBeforePivot(name()),
            Kind::Compensatable | Kind::Pivot | Kind::Retriable | Kind::NoUndo => continue,
        };
        found.push(Problem::of_step(&step.name, fault));
    }
}

fn ancestors(steps: &[StepDraft], of: usize) -> Vec<bool> {
    let mut marked = vec![false; steps.len()];
    // Steps wait for earlier ones only, so one pass backwards sees every step after all that wait for it.
    for at in (0..=of).rev() {
        if at == of || marked[at] {
            steps[at].after.iter().for_each(|&earlier| marked[earlier] = true);
        }
    }
    marked
}

fn descendants(steps: &[StepDraft], of: usize) -> Vec<bool> {
    let mut marked = vec![false; steps.len()];
    for at in of + 1..steps.len() {
        marked[at] = steps[at].after.iter().any(|&earlier| earlier == of || marked[earlier]);
    }
    marked
}

fn times(draft: &Draft, found: &mut Vec<Problem>) {
    if draft.deadline == Some(Duration::ZERO) {
        found.push(Problem::of_saga(Fault::ZeroDeadline));
    }
    found.extend(retry_faults(&draft.callback_retry).map(Problem::of_saga));
    for step in &draft.steps {
        let mut report = |fault| found.push(Problem::of_step(&step.name, fault));
        match step.deadline {
            Some(_) if step.kind == Kind::Retriable => report(Fault::RetriableDeadline),
            Some(Duration::ZERO) => report(Fault::ZeroDeadline),
            _ => {}
        }
        step.retry.iter().flat_map(retry_faults).for_each(report);
    }
}

fn retry_faults(retry: &Retry) -> impl Iterator<Item = Fault> + use<> {
    let &Retry { attempts_max, delay_first: first, delay_max: max } = retry;
    let none = (attempts_max == Some(0)).then_some(Fault::NoAttempts);
    let reversed = (first > max).then_some(Fault::DelaysReversed { first, max });
    // A command carries the delays in whole milliseconds.
    let spins = (attempts_max.is_none() && first.as_millis() == 0).then_some(Fault::RetrySpins);
    [none, reversed, spins].into_iter().flatten()
}

/// Something must end every wait: for a step's answer after a failure elsewhere, and for its attempts.
fn endless(draft: &Draft, found: &mut Vec<Problem>) {
    if draft.deadline.is_some() {
        return;
    }
    for step in draft.steps.iter().filter(|step| step.kind != Kind::Retriable && step.deadline.is_none()) {
        // Without a retry of its own it has the participant's, which is limited.
        let unlimited = step.retry.is_some_and(|retry| retry.attempts_max.is_none());
        let fault = match draft.policy {
            FailurePolicy::WaitAll => Fault::EndlessWait,
            FailurePolicy::FailFast | FailurePolicy::Grace(_) if unlimited => Fault::EndlessRetry,
            FailurePolicy::FailFast | FailurePolicy::Grace(_) => continue,
        };
        found.push(Problem::of_step(&step.name, fault));
    }
}

const TRIGGER: &str = "a trigger";
const CANCEL: &str = "a cancel topic";
const REPLIES: &str = "the topic of replies";
const COMMANDS: &str = "a topic of commands";
const ANNOUNCED: &str = "an announcement's topic";

/// A topic has one meaning, so that no message is read as what it is not and no saga sets itself off. Two things go together:
/// several announcements may share a topic, and one may go to a cancel topic, where it is too late to cancel its own saga.
fn topics(draft: &Draft, found: &mut Vec<Problem>) {
    let commands: BTreeSet<_> = draft.steps.iter().map(|step| step.topic).collect();
    let announced: BTreeSet<_> = draft.announcements.values().map(|edge| edge.topic.as_str()).collect();
    let uses = std::iter::once((&*draft.replies, REPLIES))
        .chain(commands.into_iter().map(|topic| (topic, COMMANDS)))
        .chain(draft.triggers.iter().map(|edge| (edge.topic.as_str(), TRIGGER)))
        .chain(draft.cancels.iter().map(|edge| (edge.topic.as_str(), CANCEL)))
        .chain(announced.into_iter().map(|topic| (topic, ANNOUNCED)));
    let mut by_topic = BTreeMap::<&str, Vec<&'static str>>::new();
    for (topic, used) in uses {
        let earlier = by_topic.entry(topic).or_default();
        let clash = earlier.iter().find(|&&first| (first, used) != (CANCEL, ANNOUNCED));
        if let Some(&first) = clash {
            found.push(Problem::of_saga(Fault::TopicClash { topic: topic.into(), first, second: used }));
        }
        earlier.push(used);
    }
}
