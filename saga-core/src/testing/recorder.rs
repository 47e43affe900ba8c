use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::timeline::{Moment, Timeline};
use crate::definition::Definition;
use crate::memory::lock;
use crate::operator::in_words;
use crate::ports::{Append, DeadLetter, Ended};
use crate::record::{Action, Entry, RunId, SagaId, Status, Timestamp};
use crate::wire::{Message, attributes};

/// Writes down what happens, as it happens.
#[derive(Debug)]
pub(super) struct Recorder {
    definition: Arc<Definition>,
    start: Instant,
    notes: Mutex<Notes>,
    /// A saga's record has changed.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Notes {
    sagas: HashMap<SagaId, Filed>,
    moments: Vec<(Whose, Moment)>,
    effects: Vec<(RunId, String)>,
    announcements: Vec<(RunId, Message)>,
    callbacks: Vec<Ended>,
    dead_letters: Vec<DeadLetter>,
}

/// Whom a moment concerns.
#[derive(Debug)]
enum Whose {
    Run(RunId),
    /// A message that names no run.
    Saga(SagaId),
    Everyone,
}

/// The latest run of a saga, as the log was told.
#[derive(Clone, Debug)]
pub(super) struct Filed {
    pub(super) run: RunId,
    pub(super) entries: Vec<Entry>,
    pub(super) started: Duration,
    status: Status,
    wake_at: Option<Timestamp>,
    settled: bool,
}

/// What the recorder has of one run.
#[derive(Debug)]
pub(super) struct Notebook {
    pub(super) filed: Filed,
    pub(super) timeline: Timeline,
    pub(super) effects: Vec<String>,
    pub(super) announcements: Vec<Message>,
    pub(super) callbacks: Vec<Ended>,
    pub(super) dead_letters: Vec<DeadLetter>,
}

impl Recorder {
    pub(super) fn new(definition: Arc<Definition>) -> Self {
        Self { definition, start: Instant::now(), notes: Mutex::default(), changed: Notify::new() }
    }

    /// An append took effect.
    pub(super) fn appended(&self, append: &Append) {
        if *append.key.saga != *self.definition.id.name {
            return;
        }
        let now = self.start.elapsed();
        let mut notes = lock(&self.notes);
        let filed = notes.sagas.get(&append.key.id).filter(|filed| filed.run == append.run);
        let mut filed = filed.cloned().unwrap_or_else(|| Filed::started(append.run, now));
        filed.entries.extend(append.entries.iter().cloned());
        (filed.status, filed.wake_at) = (append.status, append.wake_at);
        filed.settled |= append.settled.is_some();
        notes.sagas.insert(append.key.id.clone(), filed);
        for entry in &append.entries {
            let what = in_words(&entry.fact, &self.definition);
            notes.moments.push((Whose::Run(append.run), Moment { at: now, what }));
        }
        drop(notes);
        self.changed.notify_waiters();
    }

    /// A handler's call has ended.
    pub(super) fn handled(&self, run: RunId, step: &str, action: Action, attempt: u32, end: &str) {
        let nth = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        self.note(Whose::Run(run), format!("{step} {action}{nth}: {end}"));
    }

    /// A handler did something.
    pub(super) fn took_effect(&self, run: RunId, step: &str, action: Action) {
        let done = if action == Action::Undo { "undone" } else { "executed" };
        lock(&self.notes).effects.push((run, format!("{step} {done}")));
    }

    /// A fault struck a message.
    pub(super) fn struck(&self, message: &Message, what: String) {
        self.note(whose(message), what);
    }

    pub(super) fn announced(&self, message: &Message) {
        if let Some(run) = run_of(message) {
            lock(&self.notes).announcements.push((run, message.clone()));
        }
    }

    pub(super) fn called_back(&self, ended: &Ended) {
        lock(&self.notes).callbacks.push(ended.clone());
    }

    pub(super) fn buried(&self, letter: DeadLetter) {
        self.note(
            whose(&letter.message),
            format!("dead letter on {}: {}", letter.message.topic, letter.reason),
        );
        lock(&self.notes).dead_letters.push(letter);
    }

    /// Something that concerns every saga.
    pub(super) fn note_for_all(&self, what: &str) {
        self.note(Whose::Everyone, what.to_owned());
    }

    fn note(&self, whose: Whose, what: String) {
        let at = self.start.elapsed();
        lock(&self.notes).moments.push((whose, Moment { at, what }));
    }

    /// Whether nothing more happens to the saga by itself: it has ended and everyone was told, or waits for an operator.
    pub(super) fn is_over(&self, id: &SagaId) -> bool {
        lock(&self.notes).sagas.get(id).is_some_and(Filed::is_over)
    }

    /// What there is of the latest run of a saga.
    pub(super) fn notebook(&self, id: &SagaId) -> Option<Notebook> {
        let notes = lock(&self.notes);
        let filed = notes.sagas.get(id)?.clone();
        let (run, started) = (filed.run, filed.started);
        let is_its = |whose: &Whose, at: Duration| match whose {
            Whose::Run(of) => *of == run,
            Whose::Saga(of) => of == id && at >= started,
            Whose::Everyone => at >= started,
        };
        let its = notes.moments.iter().filter(|(whose, moment)| is_its(whose, moment.at));
        let moments = its
            .map(|(_, moment)| Moment { at: moment.at.saturating_sub(started), what: moment.what.clone() })
            .collect();
        let of_run = |of: &RunId| *of == run;
        let letters = notes.dead_letters.iter();
        let letters = letters.filter(|letter| match whose(&letter.message) {
            Whose::Run(of) => of == run,
            Whose::Saga(of) => of == *id,
            Whose::Everyone => false,
        });
        Some(Notebook {
            timeline: Timeline { moments },
            effects: notes
                .effects
                .iter()
                .filter(|(of, _)| of_run(of))
                .map(|(_, what)| what.clone())
                .collect(),
            announcements: notes
                .announcements
                .iter()
                .filter(|(of, _)| of_run(of))
                .map(|(_, message)| message.clone())
                .collect(),
            callbacks: notes.callbacks.iter().filter(|ended| ended.run == run).cloned().collect(),
            dead_letters: letters.cloned().collect(),
            filed,
        })
    }

    /// All dead letters.
    pub(super) fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.notes).dead_letters.clone()
    }
}

impl Filed {
    const fn started(run: RunId, at: Duration) -> Self {
        Self { run, entries: Vec::new(), started: at, status: Status::Running, wake_at: None, settled: false }
    }

    fn is_over(&self) -> bool {
        let is_at_rest = self.status.is_ended() || self.status == Status::Parked;
        self.settled || (is_at_rest && self.wake_at.is_none())
    }
}

fn run_of(message: &Message) -> Option<RunId> {
    message.headers.get(attributes::RUN)?.parse().ok()
}

fn whose(message: &Message) -> Whose {
    let id = || message.headers.get(attributes::SUBJECT).or(message.key.as_deref());
    match run_of(message) {
        Some(run) => Whose::Run(run),
        None => id().and_then(|id| SagaId::new(id).ok()).map_or(Whose::Everyone, Whose::Saga),
    }
}
