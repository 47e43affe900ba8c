use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Action, Payload, Report, StepIndex};

/// What an operator declares a step to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// It is done, with this output.
    Done {
        /// Taken as what the step returned.
        output: Payload,
    },
    /// It had no effect, and will have none.
    NoEffect,
    /// Its effect was undone by other means.
    Undone,
}

/// What an operator can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verb {
    /// Try again, in a new round: one step, or everything that is stuck, or the refused callback.
    Retry {
        /// Only this step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepIndex>,
    },
    /// Declare what a step is.
    Resolve {
        /// The step.
        step: StepIndex,
        /// What it is.
        resolution: Resolution,
    },
    /// End the saga as it stands.
    Abandon,
}

/// An operator's action, with who and why, kept in the saga's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What.
    #[serde(flatten)]
    pub verb: Verb,
    /// Who asked.
    pub who: Arc<str>,
    /// Why, in their words.
    pub why: Arc<str>,
}

/// An input kept in the log until a coordinator that knows the saga's definition comes by. Steps are by name: whoever
/// wrote this could not resolve them, having none of the definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "kebab-case")]
pub enum HeldInput {
    /// A participant's reply.
    Reply {
        /// The step's name.
        step: Arc<str>,
        /// What the participant was asked.
        action: Action,
        /// In which round.
        round: u32,
        /// What it said.
        report: Report,
    },
    /// A request to cancel.
    Cancel {
        /// Who asked.
        who: Arc<str>,
        /// Why, in their words.
        why: Arc<str>,
    },
    /// An operator's action, by a tool that has not the definition.
    Operate {
        /// What.
        #[serde(flatten)]
        verb: NamedVerb,
        /// Who asked.
        who: Arc<str>,
        /// Why, in their words.
        why: Arc<str>,
    },
}

/// A [`Verb`] whose step goes by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NamedVerb {
    /// Try again, in a new round: one step, or everything that is stuck, or the refused callback.
    Retry {
        /// Only this step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<Arc<str>>,
    },
    /// Declare what a step is.
    Resolve {
        /// The step.
        step: Arc<str>,
        /// What it is.
        resolution: Resolution,
    },
    /// End the saga as it stands.
    Abandon,
}
