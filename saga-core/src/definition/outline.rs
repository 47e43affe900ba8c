//! Definitions as data, and what can be told of a saga by that alone.

use std::sync::Arc;

use async_trait::async_trait;

use super::edges::AnnouncementEdge;
use super::erased::{Definition, FailurePolicy, StepDef};
use crate::contract::Kind;
use crate::ports::{Callback, CallbackError, Ended};
use crate::record::{Outline, Retry, StepIndex, StepOutline};

/// What a closure says that is not there.
const ABSENT: &str = "only the outline of the definition is here";

impl Definition {
    /// What it looks like, as data.
    pub fn outline(&self) -> Outline {
        let step = |step: &StepDef| StepOutline {
            name: Arc::clone(&step.name),
            contract: step.contract.into(),
            topic: step.topic.clone(),
            kind: step.kind,
            after: step.after.clone(),
            deadline: step.deadline,
        };
        let announced = self.announcements.iter().map(|(when, edge)| (*when, edge.topic.clone()));
        Outline {
            definition: self.id.clone(),
            steps: self.steps.iter().map(step).collect(),
            deadline: self.deadline,
            replies: self.replies.clone(),
            announcements: announced.collect(),
            callbacks: self.callbacks.keys().copied().collect(),
            callback_retry: self.callback_retry,
        }
    }

    /// A definition to look at sagas with: their records can be replayed and shown. It cannot run any, since it has none of the user's closures.
    ///
    /// # Errors
    /// Says what is wrong when it is no outline of a definition that could have been built.
    pub fn of_outline(outline: &Outline) -> Result<Self, String> {
        let mut steps = Vec::with_capacity(outline.steps.len());
        for (at, step) in outline.steps.iter().enumerate() {
            if step.after.iter().any(|earlier| earlier.at() >= at) {
                return Err(format!("step {} waits for one that comes after it", step.name));
            }
            steps.push(step_of(step));
        }
        for at in 0..steps.len() {
            let index = StepIndex(u16::try_from(at).map_err(|_| "there are too many steps")?);
            for earlier in steps[at].after.clone() {
                steps[earlier.at()].dependents.push(index);
            }
        }
        let index = |at| StepIndex(u16::try_from(at).unwrap_or(u16::MAX));
        let named = steps.iter().enumerate().map(|(at, step)| (Arc::clone(&step.name), index(at)));
        let edge = |topic| AnnouncementEdge { topic, body: Arc::new(|_| Err(ABSENT.to_owned())) };
        let announced = outline.announcements.iter().map(|(when, topic)| (*when, edge(topic.clone())));
        let callback = |ending| (ending, Arc::new(Absent) as Arc<dyn Callback>);
        Ok(Self {
            id: outline.definition.clone(),
            by_name: named.collect(),
            pivot: steps.iter().position(|step| step.kind == Kind::Pivot).map(index),
            policy: FailurePolicy::default(),
            deadline: outline.deadline,
            replies: outline.replies.clone(),
            source: format!("/saga/{}", outline.definition.name).into(),
            decode_input: |_| Err(ABSENT.to_owned()),
            announcements: announced.collect(),
            callbacks: outline.callbacks.iter().copied().map(callback).collect(),
            callback_retry: outline.callback_retry,
            triggers: Vec::new(),
            cancels: Vec::new(),
            reply_codec: None,
            steps,
        })
    }
}

fn step_of(step: &StepOutline) -> StepDef {
    StepDef {
        name: Arc::clone(&step.name),
        contract: "",
        topic: step.topic.clone(),
        kind: step.kind,
        after: step.after.clone(),
        dependents: Vec::new(),
        deadline: step.deadline,
        retry: None::<Retry>,
        input: Arc::new(|_, _| Err(ABSENT.to_owned())),
        check_output: |_| Ok(()),
    }
}

/// Stands where a callback of the user's stood.
#[derive(Debug)]
struct Absent;

#[async_trait]
impl Callback for Absent {
    async fn call(&self, _: &Ended) -> Result<(), CallbackError> {
        Err(CallbackError::Retry(ABSENT.into()))
    }
}
