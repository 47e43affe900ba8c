use std::sync::Arc;

use super::words::in_words;
use crate::coordinator::describe;
use crate::definition::Definition;
use crate::machine::{Effect, Instance, View};
use crate::ports::{Audited, StoredSaga, Tombstone};
use crate::record::{Fact, Outline, RunId, SagaKey, StepIndex, Timestamp};

/// A saga as an operator sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sheet {
    /// Its record is there.
    Live(Box<LiveSheet>),
    /// It has ended, and only its tombstone is left, with what operators did to it.
    Pruned(Tombstone, Vec<Action>),
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// To which saga.
    pub key: SagaKey,
    /// To which start of it.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// What, by whom and why, in words.
    pub what: String,
}

impl Action {
    pub(super) fn of(line: Audited, outlines: &[Outline]) -> Self {
        let Audited { key, run, definition, entry } = line;
        let outline = outlines.iter().find(|outline| outline.definition == definition);
        let definition = outline.and_then(|outline| Definition::of_outline(outline).ok());
        let what = match &definition {
            Some(definition) => in_words(&entry.fact, definition),
            None => as_json(&entry.fact),
        };
        Self { key, run, at: entry.at, what }
    }
}

fn as_json(fact: &Fact) -> String {
    serde_json::to_string(fact).unwrap_or_else(|_| format!("{fact:?}"))
}

/// A saga whose record is there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveSheet {
    /// The record.
    pub stored: StoredSaga,
    /// What its definition looks like, if a coordinator that has it ever ran on this log.
    pub outline: Option<Outline>,
    /// The saga that the record makes, or why it makes none.
    instance: Result<Instance, String>,
}

impl LiveSheet {
    pub(super) fn new(stored: StoredSaga, outline: Option<Outline>) -> Self {
        let instance = match &outline {
            None => Err(format!("no coordinator of this log has told what {} looks like", stored.definition)),
            Some(outline) => replay(outline, &stored),
        };
        Self { stored, outline, instance }
    }

    /// How it stands, step by step.
    ///
    /// # Errors
    /// Says why it cannot be told: its definition is not known, or its record cannot be.
    pub fn view(&self) -> Result<View, &str> {
        self.instance.as_ref().map(Instance::view).map_err(String::as_str)
    }

    /// What it still owes, and since when. Empty if that cannot be told.
    pub fn owed(&self) -> Vec<(Effect, Timestamp)> {
        let Ok(instance) = &self.instance else { return Vec::new() };
        instance.owed().into_iter().map(|effect| (effect, instance.owed_since(effect))).collect()
    }

    /// When its next deadline fires, if it has one.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.instance.as_ref().ok().and_then(Instance::next_deadline)
    }

    /// Why it failed, if it did.
    pub fn cause(&self) -> Option<String> {
        let instance = self.instance.as_ref().ok()?;
        instance.cause().map(|cause| describe(cause, instance.definition()))
    }

    /// What happened to it, operators' actions included: each entry of its record in words, or as JSON where the definition is not known.
    pub fn history(&self) -> Vec<(Timestamp, String)> {
        let words = |fact: &Fact| match &self.instance {
            Ok(instance) => in_words(fact, instance.definition()),
            Err(_) => as_json(fact),
        };
        self.stored.entries.iter().map(|entry| (entry.at, words(&entry.fact))).collect()
    }

    /// A step's name, or its number where the definition is not known.
    pub fn step_name(&self, step: StepIndex) -> Arc<str> {
        let known = self.outline.as_ref().and_then(|outline| outline.steps.get(step.at()));
        known.map_or_else(|| format!("step {}", step.0).into(), |step| Arc::clone(&step.name))
    }
}

fn replay(outline: &Outline, stored: &StoredSaga) -> Result<Instance, String> {
    let definition = Arc::new(Definition::of_outline(outline)?);
    Instance::replay(definition, &stored.entries).map_err(|corrupt| corrupt.to_string())
}
