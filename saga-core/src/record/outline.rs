use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Announcement, DefinitionRef, Ending, Retry, StepIndex, Topic};
use crate::contract::Kind;

/// What a definition looks like, as data: its steps and times, without the user's closures. The log keeps it for people and tools that
/// have not the definition itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outline {
    /// Which definition.
    pub definition: DefinitionRef,
    /// Its steps, in the order of declaration.
    pub steps: Vec<StepOutline>,
    /// By when a saga must have completed, counted from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// The topic on which participants answer.
    pub replies: Topic,
    /// What is announced, and on which topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub announcements: BTreeMap<Announcement, Topic>,
    /// For which endings there is a callback.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub callbacks: BTreeSet<Ending>,
    /// How the callback is repeated.
    pub callback_retry: Retry,
}

/// A step of an [`Outline`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepOutline {
    /// Its name.
    pub name: Arc<str>,
    /// Its contract's name.
    pub contract: Arc<str>,
    /// The topic of its commands.
    pub topic: Topic,
    /// Its kind.
    pub kind: Kind,
    /// The steps it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepIndex>,
    /// By when it must have answered, counted from its dispatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}
