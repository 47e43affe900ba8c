use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::build_error::{BuildError, Fault, Problem};
use super::edges::{AnnouncementEdge, CancelEdge, ReplyEdge, TriggerEdge};
use super::erased::{DecodeFn, Definition, FailurePolicy, InputFn, StepDef};
use super::{digest, validate};
use crate::contract::Kind;
use crate::ports::Callback;
use crate::record::{Announcement, DefinitionRef, Ending, Payload, Retry, StepIndex, Topic};

/// A definition being built, its types erased: nothing in it is checked yet.
pub(super) struct Draft {
    pub(super) name: Arc<str>,
    pub(super) version: u32,
    pub(super) steps: Vec<StepDraft>,
    pub(super) policy: FailurePolicy,
    pub(super) deadline: Option<Duration>,
    pub(super) replies: Arc<str>,
    pub(super) decode_input: DecodeFn,
    pub(super) announcements: BTreeMap<Announcement, AnnouncementEdge>,
    pub(super) callbacks: BTreeMap<Ending, Arc<dyn Callback>>,
    pub(super) callback_retry: Retry,
    pub(super) triggers: Vec<TriggerEdge>,
    pub(super) cancels: Vec<CancelEdge>,
    pub(super) reply_codec: Option<ReplyEdge>,
    /// What was wrong with the builder's calls themselves.
    pub(super) problems: Vec<Problem>,
}

/// A step being built.
pub(super) struct StepDraft {
    pub(super) name: Arc<str>,
    pub(super) contract: &'static str,
    pub(super) topic: &'static str,
    pub(super) kind: Kind,
    /// Places of earlier steps.
    pub(super) after: Vec<usize>,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) input: InputFn,
    pub(super) check_output: fn(&Payload) -> Result<(), String>,
}

impl Draft {
    /// The definition, if nothing is wrong with it.
    pub(super) fn finish(mut self) -> Result<Definition, BuildError> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.extend(validate::problems(&self));
        if problems.is_empty() { Ok(self.checked()) } else { Err(BuildError { saga: self.name, problems }) }
    }

    /// The topic, or a problem to be reported by `finish`.
    pub(super) fn topic(&mut self, name: &str) -> Option<Topic> {
        let topic = Topic::new(name);
        topic.map_err(|error| self.problems.push(Problem::of_saga(Fault::Name(error)))).ok()
    }

    fn checked(self) -> Definition {
        let dependents = dependents(&self.steps);
        let steps: Vec<_> = self
            .steps
            .into_iter()
            .zip(dependents)
            .map(|(step, dependents)| step.checked(dependents))
            .collect();
        let named = |(at, step): (usize, &StepDef)| (Arc::clone(&step.name), index(at));
        Definition {
            source: format!("/saga/{}", self.name).into(),
            id: DefinitionRef { name: self.name, version: self.version, digest: digest::of(&steps) },
            by_name: steps.iter().enumerate().map(named).collect::<HashMap<_, _>>(),
            pivot: steps.iter().position(|step| step.kind == Kind::Pivot).map(index),
            steps,
            policy: self.policy,
            deadline: self.deadline,
            replies: checked_topic(self.replies),
            decode_input: self.decode_input,
            announcements: self.announcements,
            callbacks: self.callbacks,
            callback_retry: self.callback_retry,
            triggers: self.triggers,
            cancels: self.cancels,
            reply_codec: self.reply_codec,
        }
    }
}

impl StepDraft {
    fn checked(self, dependents: Vec<StepIndex>) -> StepDef {
        StepDef {
            name: self.name,
            contract: self.contract,
            topic: checked_topic(self.topic),
            kind: self.kind,
            after: self.after.into_iter().map(index).collect(),
            dependents,
            deadline: self.deadline,
            retry: self.retry,
            input: self.input,
            check_output: self.check_output,
        }
    }
}

fn dependents(steps: &[StepDraft]) -> Vec<Vec<StepIndex>> {
    let mut dependents = vec![Vec::new(); steps.len()];
    for (at, step) in steps.iter().enumerate() {
        for &earlier in &step.after {
            dependents[earlier].push(index(at));
        }
    }
    dependents
}

fn index(at: usize) -> StepIndex {
    StepIndex(u16::try_from(at).expect("validation limits the steps"))
}

fn checked_topic(name: impl Into<Arc<str>>) -> Topic {
    Topic::new(name).expect("validation checks every topic")
}
