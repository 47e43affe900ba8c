use std::sync::Arc;

use thiserror::Error;

use super::instance::Instance;
use super::state::{Phase, State};
use crate::definition::{Decoded, Definition};
use crate::record::{
    Action, Announcement, Cause, Entry, Fact, HeldInput, Operation, Report, StepIndex, Timestamp,
};

/// Something that happens to a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A participant answered.
    Reply {
        /// The step.
        step: StepIndex,
        /// What was asked.
        action: Action,
        /// In which round.
        round: u32,
        /// The answer.
        report: Report,
    },
    /// Time has passed.
    Wake {
        /// Deadlines up to then may fire, if they have passed: none right after a gap, and none over a reply that is older and still
        /// unread. A later one stays due, whichever fires before it.
        deadlines_until: Timestamp,
    },
    /// Someone wants it undone.
    Cancel {
        /// Who.
        who: Arc<str>,
        /// Why.
        why: Arc<str>,
    },
    /// An operator acts.
    Operate(Operation),
    /// An announcement was published.
    Announced(Announcement),
    /// An announcement cannot be made.
    AnnouncementRefused {
        /// Which.
        announcement: Announcement,
        /// Why.
        reason: Arc<str>,
    },
    /// The callback was answered.
    CallbackAnswered,
    /// The callback had no answer.
    CallbackFailed {
        /// Why.
        reason: Arc<str>,
    },
    /// The callback was refused for good.
    CallbackRefused {
        /// Why.
        reason: Arc<str>,
    },
}

/// An event that cannot happen to a saga as it stands. Nothing is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Impossible {
    /// A reply to a command that was never sent.
    #[error("{action} of {step}, round {round}, was never sent")]
    NotSent {
        /// The step's name.
        step: Arc<str>,
        /// What it claims to answer.
        action: Action,
        /// The round it claims to answer.
        round: u32,
    },
    /// A reply that says what its command did not ask.
    #[error("the reply does not answer {action} of {step}")]
    NoAnswer {
        /// The step's name.
        step: Arc<str>,
        /// What it claims to answer.
        action: Action,
    },
    /// An operator's verb that does not fit.
    #[error("{problem}")]
    NotAllowed {
        /// What stands in the way, and what can be done instead.
        problem: String,
    },
}

impl Instance {
    /// Says what an event makes happen, and applies it. Nothing for a duplicate.
    ///
    /// The entries must be made durable before anything owed by them is done; if that fails, this instance is to be thrown away and
    /// the saga read again.
    ///
    /// # Errors
    /// [`Impossible`]; the instance is unchanged.
    pub fn decide(&mut self, event: Event, now: Timestamp) -> Result<Vec<Entry>, Impossible> {
        let mut deciding = self.deciding(now);
        deciding.event(event)?;
        deciding.progress();
        Ok(deciding.entries)
    }

    /// What follows by itself from where the saga stands.
    pub(super) fn progress(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut deciding = self.deciding(now);
        deciding.progress();
        deciding.entries
    }

    fn deciding(&mut self, now: Timestamp) -> Deciding<'_> {
        Deciding {
            definition: &self.definition,
            state: &mut self.state,
            now,
            entries: Vec::new(),
            decoded: None,
        }
    }
}

/// A decision being made: each fact is applied as it is recorded, so that what follows is decided on what is true by then.
pub(super) struct Deciding<'a> {
    pub(super) definition: &'a Definition,
    pub(super) state: &'a mut State,
    pub(super) now: Timestamp,
    entries: Vec<Entry>,
    /// The saga's input, decoded at most once.
    pub(super) decoded: Option<Decoded>,
}

impl Deciding<'_> {
    pub(super) fn record(&mut self, fact: Fact) {
        let entry = Entry { at: self.now, fact };
        if let Err(problem) = self.state.apply(self.definition, &entry) {
            panic!("the machine decided what cannot be: {problem}: {entry:?}");
        }
        self.entries.push(entry);
    }

    fn event(&mut self, event: Event) -> Result<(), Impossible> {
        match event {
            Event::Reply { step, action, round, report } => self.reply(step, action, round, report)?,
            Event::Wake { deadlines_until } => {
                self.take_held();
                self.deadlines(deadlines_until.min(self.now));
            }
            Event::Cancel { who, why } => self.cancel(who, why),
            Event::Operate(operation) => self.operate(operation)?,
            Event::Announced(announcement) => {
                if self.is_announcement_open(announcement) {
                    self.record(Fact::Announced { announcement });
                }
            }
            Event::AnnouncementRefused { announcement, reason } => {
                if self.is_announcement_open(announcement) {
                    self.record(Fact::AnnouncementRefused { announcement, reason });
                }
            }
            Event::CallbackAnswered => self.callback_answered(),
            Event::CallbackFailed { reason } => self.callback_failed(reason),
            Event::CallbackRefused { reason } => self.callback_refused(reason),
        }
        Ok(())
    }

    /// Goes as far as it can without waiting for anybody.
    fn progress(&mut self) {
        loop {
            match self.state.phase {
                Phase::Forward => return self.go_forward(),
                Phase::Failing { .. } if self.state.is_past_pivot(self.definition) => {
                    self.record(Fact::WentForward);
                }
                Phase::Failing { since, until } => {
                    let patience_is_over = until.is_some_and(|until| until <= since);
                    if self.state.running > 0 && !patience_is_over {
                        return;
                    }
                    self.begin_unwinding();
                }
                Phase::Unwinding if self.state.is_past_pivot(self.definition) => {
                    self.record(Fact::WentForward);
                }
                Phase::Unwinding => return self.unwind(),
                Phase::Ended { .. } => return,
            }
        }
    }

    fn cancel(&mut self, who: Arc<str>, why: Arc<str>) {
        if self.state.phase == Phase::Forward && !self.state.is_point_of_no_return(self.definition) {
            self.fail(Cause::Cancelled { who, why });
        }
    }

    /// Inputs that waited for a coordinator that knows this definition. One that cannot be is dropped from the record's queue; it stays
    /// in the record.
    fn take_held(&mut self) {
        while let Some(input) = self.state.held.front().cloned() {
            match input {
                HeldInput::Cancel { who, why } => self.cancel(who, why),
                HeldInput::Operate { verb, who, why } => {
                    let refused = self.operate_named(&verb, Arc::clone(&who), Arc::clone(&why));
                    if let Err(impossible) = refused {
                        let reason = impossible.to_string().into();
                        self.record(Fact::OperationRefused { who, why, reason });
                    }
                }
                HeldInput::Reply { step, action, round, report } => {
                    if let Some(step) = self.definition.step_index(&step) {
                        let _impossible = self.reply(step, action, round, report);
                    }
                }
            }
            self.record(Fact::HeldTaken);
            self.progress();
        }
    }
}
