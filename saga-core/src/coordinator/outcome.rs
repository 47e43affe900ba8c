use std::sync::Arc;

use crate::definition::Definition;
use crate::machine::Instance;
use crate::ports::Tombstone;
use crate::record::{Cause, Payload, RunId, Status, StepIndex};

/// How a saga came out: ended, or parked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Completed, rolled back, abandoned; or parked, when an operator is needed.
    pub status: Status,
    /// Which start of its id it was.
    pub run: RunId,
    /// Why it failed or is parked, for people.
    pub reason: Option<String>,
    outputs: Vec<(Arc<str>, Payload)>,
}

impl Outcome {
    /// Whether every step is done.
    pub fn is_completed(&self) -> bool {
        self.status == Status::Completed
    }

    /// What a step returned; `None` when it is not done, or when the log keeps only the saga's tombstone by now.
    pub fn output(&self, step: &str) -> Option<&Payload> {
        self.outputs.iter().find(|(name, _)| **name == *step).map(|(_, output)| output)
    }

    /// The outcome of a saga as it stands; `None` while it goes on by itself.
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        let status = instance.status();
        let reason = match status {
            Status::Running | Status::Unwinding => return None,
            Status::Parked => instance.parked().map(|reason| reason.to_string()),
            _ => instance.cause().map(|cause| describe(cause, instance.definition())),
        };
        let outputs = instance
            .definition()
            .indices()
            .filter_map(|step| {
                let name = Arc::clone(instance.definition().step_name(step));
                Some((name, instance.output(step)?.clone()))
            })
            .collect();
        Some(Self { status, run: instance.run(), reason, outputs })
    }

    pub(super) fn of_tombstone(tombstone: &Tombstone, definition: Option<&Definition>) -> Self {
        let reason = match (&tombstone.cause, definition) {
            (Some(cause), Some(definition)) => Some(describe(cause, definition)),
            (Some(cause), None) => Some(format!("{cause:?}")),
            (None, _) => None,
        };
        Self { status: tombstone.ending.into(), run: tombstone.run, reason, outputs: Vec::new() }
    }
}

/// A cause in words.
pub(crate) fn describe(cause: &Cause, definition: &Definition) -> String {
    let name = |step: &StepIndex| definition.step_label(*step);
    match cause {
        Cause::Rejected { step, reason } => format!("{} was refused: {reason}", name(step)),
        Cause::Failed { step, reason } => format!("{} failed: {reason}", name(step)),
        Cause::StepDeadline { step } => format!("{} did not answer before its deadline", name(step)),
        Cause::SagaDeadline => "the saga's deadline passed".to_owned(),
        Cause::Cancelled { who, why } => format!("cancelled by {who}: {why}"),
    }
}
