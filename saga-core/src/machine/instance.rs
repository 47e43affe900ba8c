use std::sync::Arc;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use super::state::{Callback, Phase, State};
use crate::definition::Definition;
use crate::ports::{Ended, Tombstone};
use crate::record::{
    Announcement, Ending, Entry, Fact, MessageId, Payload, RunId, SagaKey, Status, StepIndex, Timestamp,
};

/// One saga: its definition and what its entries make of it.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(super) definition: Arc<Definition>,
    pub(super) state: State,
}

/// Stored entries that cannot be what this library wrote for this definition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("entry {position} cannot be applied: {problem}")]
pub struct Corrupt {
    /// Which entry, from 0.
    pub position: u64,
    /// What is wrong with it.
    pub problem: String,
}

impl Instance {
    /// Starts a saga: its first entries, and the saga as they make it.
    pub fn start(
        definition: Arc<Definition>,
        run: RunId,
        input: Payload,
        traceparent: Option<Arc<str>>,
        now: Timestamp,
    ) -> (Self, Vec<Entry>) {
        let started = Fact::Started { run, definition: definition.id.clone(), input, traceparent };
        let first = Entry { at: now, fact: started };
        let state = State::new(&definition, &first).expect("the first entry is the right one");
        let mut instance = Self { definition, state };
        let mut entries = vec![first];
        entries.extend(instance.progress(now));
        (instance, entries)
    }

    /// Makes a saga of its stored entries.
    ///
    /// # Errors
    /// [`Corrupt`] names the first entry that cannot follow those before it.
    pub fn replay<'a>(
        definition: Arc<Definition>,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Self, Corrupt> {
        let mut entries = entries.into_iter();
        let first = entries.next().ok_or_else(|| Corrupt { position: 0, problem: "there is none".into() })?;
        let state = State::new(&definition, first)?;
        let mut instance = Self { definition, state };
        for entry in entries {
            instance.apply(entry)?;
        }
        Ok(instance)
    }

    /// Applies one more entry.
    ///
    /// # Errors
    /// [`Corrupt`] when it cannot follow; the instance is then not to be used any more.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Corrupt> {
        let position = self.state.version;
        self.state.apply(&self.definition, entry).map_err(|problem| Corrupt { position, problem })
    }

    /// What it is pinned to.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Which start of its id this is.
    pub const fn run(&self) -> RunId {
        self.state.run
    }

    /// How many entries made it.
    pub const fn version(&self) -> u64 {
        self.state.version
    }

    /// The current round of a step.
    ///
    /// # Panics
    /// When the definition has no such step.
    pub const fn round(&self, step: StepIndex) -> u32 {
        self.state.steps[step.at()].round
    }

    /// Its input.
    pub const fn input(&self) -> &Payload {
        &self.state.input
    }

    /// When it was started.
    pub const fn started_at(&self) -> Timestamp {
        self.state.started_at
    }

    /// The W3C trace context it was started in.
    pub const fn traceparent(&self) -> Option<&Arc<str>> {
        self.state.traceparent.as_ref()
    }

    /// A fingerprint of its input.
    pub fn input_digest(&self) -> u128 {
        input_digest(&self.state.input)
    }

    /// Where it stands.
    pub const fn status(&self) -> Status {
        match self.state.phase {
            Phase::Ended { ending, .. } => match ending {
                Ending::Completed => Status::Completed,
                Ending::RolledBack => Status::RolledBack,
                Ending::Abandoned => Status::Abandoned,
            },
            _ if self.state.parked.is_some() => Status::Parked,
            Phase::Unwinding => Status::Unwinding,
            Phase::Forward | Phase::Failing { .. } => Status::Running,
        }
    }

    /// What stays of it once nothing more is owed: it has ended, and announcement and callback are recorded. `None` before that.
    pub fn settled(&self) -> Option<Tombstone> {
        let Phase::Ended { ending, at } = self.state.phase else { return None };
        let callback_open = matches!(self.state.callback, Callback::Owed { .. } | Callback::Refused(_));
        let announcement_open = self.open_announcements().next().is_some();
        (!callback_open && !announcement_open).then(|| Tombstone {
            run: self.state.run,
            input_digest: self.input_digest(),
            ending,
            cause: self.state.cause.clone().map(Box::new),
            ended_at: at,
        })
    }

    /// The announcements that are due and not made.
    pub(super) fn open_announcements(&self) -> impl Iterator<Item = Announcement> {
        let unwound = self.state.unwound_at.map(|_| Announcement::Unwinding);
        let ended = match self.state.phase {
            Phase::Ended { ending, .. } => Some(Announcement::from(ending)),
            Phase::Forward | Phase::Failing { .. } | Phase::Unwinding => None,
        };
        unwound.into_iter().chain(ended).filter(|announcement| {
            self.definition.announcements.contains_key(announcement)
                && !self.state.announcements.is_settled(*announcement)
        })
    }
}

/// A fingerprint of a saga's input, to tell a repeated start from another one with the same id.
pub(crate) fn input_digest(input: &Payload) -> u128 {
    xxh3_128(input)
}

impl Instance {
    /// What callbacks and announcements are told of it.
    pub(crate) fn ended(&self, key: SagaKey, id: MessageId) -> Ended {
        let ending = match self.state.phase {
            Phase::Ended { ending, .. } => ending,
            Phase::Forward | Phase::Failing { .. } | Phase::Unwinding => Ending::RolledBack,
        };
        Ended {
            id,
            key,
            run: self.state.run,
            ending,
            cause: self.state.cause.clone(),
            input: self.state.input.clone(),
            started_at: self.state.started_at,
            at: self.turned_at(),
            traceparent: self.state.traceparent.clone(),
        }
    }
}
