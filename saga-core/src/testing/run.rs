use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::recorder::Notebook;
use super::timeline::Timeline;
use crate::coordinator::Outcome;
use crate::definition::Definition;
use crate::machine::Instance;
use crate::ports::{DeadLetter, Ended};
use crate::record::Entry;
use crate::wire::Message;

/// What became of a saga, and how. Shown, it is its timeline with the virtual times.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run {
    /// How it came out: ended, or parked.
    pub outcome: Outcome,
    /// What happened, in order.
    pub timeline: Timeline,
    /// What handlers did, in order: `inventory executed`, `inventory undone`. Attempts that failed are not among them.
    pub effects: Vec<String>,
    /// The announcements that were published, repeats included.
    pub announcements: Vec<Message>,
    /// The completion calls that were made, repeats included.
    pub callbacks: Vec<Ended>,
    /// The dead letters of this saga.
    pub dead_letters: Vec<DeadLetter>,
    /// The saga's whole record.
    pub entries: Vec<Entry>,
    /// How much virtual time it took, from its start to the last line of its record.
    pub elapsed: Duration,
}

impl Run {
    /// `None` when the saga has not come out yet.
    pub(super) fn read(notebook: Notebook, definition: &Arc<Definition>) -> Option<Self> {
        let Notebook { filed, timeline, effects, announcements, callbacks, dead_letters } = notebook;
        let instance = Instance::replay(Arc::clone(definition), &filed.entries)
            .expect("a saga's own record can be replayed");
        let (first, last) = (filed.entries.first()?, filed.entries.last()?);
        let elapsed = last.at.since(first.at);
        let outcome = Outcome::of(&instance)?;
        let entries = filed.entries;
        Some(Self { outcome, timeline, effects, announcements, callbacks, dead_letters, entries, elapsed })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timeline.fmt(f)
    }
}
