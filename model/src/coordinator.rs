//! The coordinators' shell: decide on the real machine, append by compare-and-set, perform what is newly owed, acknowledge.

use std::sync::Arc;

use saga_core::Timestamp;
use saga_core::machine::{Effect, Event, Instance, Resend};
use saga_core::ports::Known;
use saga_core::record::{
    Action, Cause, Entry, Fact, FenceAnswer, Operation, Report, Resolution, Status, StepIndex, Verb,
};

use crate::acts::{Deed, Who};
use crate::config::{Fault, SLACK};
use crate::coverage::Sight;
use crate::laws::Law;
use crate::mutants::Mutant;
use crate::play::{Mail, Play};
use crate::world::{Command, Filed, Second};

impl Play<'_> {
    /// Lets a coordinator deal with an event, and says whether it is done with it. `is_delivery`: it is acknowledged then.
    pub(crate) fn handle(&mut self, by: Who, event: Event, is_delivery: bool) -> bool {
        let log = Arc::clone(self.log());
        let basis = match (by, self.world.stale()) {
            (Who::Second, Some(read)) => Arc::clone(read),
            _ => Arc::clone(&log),
        };
        let is_stale = basis.instance.version() != log.instance.version();
        let event = self.as_understood(event);
        let mut live = basis.instance.clone();
        let entries = live.decide(event.clone(), self.world.now).unwrap_or_default();
        self.tale.say(|| format!("{by:?} coordinator{}: {event:?}", if is_stale { ", stale" } else { "" }));
        if is_delivery && !entries.is_empty() && self.is(Mutant::AcknowledgeBeforeAppend) {
            self.acknowledge(&event);
        }
        if is_stale {
            if entries.is_empty() && self.is(Mutant::StaleDecisionSettled) {
                self.acknowledge(&event);
                return true;
            }
            if !self.is(Mutant::NoCompareAndSet) {
                self.saw(Sight::Conflict);
                self.tale.say(|| "  conflict: it will read and decide anew".to_owned());
                self.world.second = Second::Corrected;
                return false;
            }
        }
        match entries.is_empty() {
            false => self.file(live, &entries),
            true if self.is_fair => self.refile(),
            true => {}
        }
        if is_delivery && self.world.broken.is_none() {
            self.acknowledge(&event);
        }
        true
    }

    /// An input is gone from the bus: what it leads to must be in the log.
    fn acknowledge(&mut self, event: &Event) {
        let mut again = self.log().instance.clone();
        if let Ok(entries) = again.decide(event.clone(), self.world.now)
            && let Some(first) = entries.first()
        {
            self.breaks(Law::Acknowledged, format!("{event:?} was acknowledged, but not {:?}", first.fact));
        }
    }

    /// Appends what was decided, checks it, and performs what is newly owed.
    pub(crate) fn file(&mut self, live: Instance, entries: &[Entry]) {
        if let Some(log) = self.world.saga.clone() {
            self.check_end_is_final(log.instance.status(), entries);
            self.check_replay(&log.instance, &live, entries);
        }
        self.check_entries(&live, entries);
        for entry in entries {
            self.tale.say(|| format!("  log: {:?}", entry.fact));
        }
        let owed = live.newly_owed(entries);
        let wake_at = self.wake_at(&live, entries);
        self.world.saga = Some(Arc::new(Filed { instance: live, wake_at }));
        self.see_status();
        owed.into_iter().for_each(|effect| self.perform(effect));
        self.mutant_performs(entries);
    }

    fn wake_at(&self, live: &Instance, entries: &[Entry]) -> Option<Timestamp> {
        let dispatches =
            |entry: &Entry| matches!(entry.fact, Fact::Dispatched { .. } | Fact::UndoDispatched { .. });
        if self.is(Mutant::WakeForgotten) && entries.iter().any(dispatches) {
            return None;
        }
        live.wake_at(self.world.now, &Resend::DEFAULT)
    }

    /// An append without entries: it only says anew when the saga is to be woken.
    pub(crate) fn refile(&mut self) {
        let Some(saga) = &mut self.world.saga else { return };
        let wake_at = saga.instance.wake_at(self.world.now, &Resend::DEFAULT);
        if wake_at != saga.wake_at && !(saga.wake_at.is_none() && self.model.is(Mutant::WakeForgotten)) {
            Arc::make_mut(saga).wake_at = wake_at;
        }
    }

    fn check_replay(&mut self, before: &Instance, live: &Instance, entries: &[Entry]) {
        let is_lossy = self.is(Mutant::EntryLost) && entries.len() > 1;
        let stored = if is_lossy { &entries[..entries.len() - 1] } else { entries };
        let mut replayed = before.clone();
        for entry in stored {
            if let Err(corrupt) = replayed.apply(entry) {
                return self.breaks(Law::Replay, corrupt);
            }
        }
        if !replayed.is_same(live) {
            self.breaks(Law::Replay, "the log makes another saga than the live one");
        }
    }

    fn check_end_is_final(&mut self, before: Status, entries: &[Entry]) {
        let of_after_the_end = |entry: &&Entry| {
            !matches!(
                entry.fact,
                Fact::Announced { .. }
                    | Fact::AnnouncementRefused { .. }
                    | Fact::CallbackAnswered
                    | Fact::CallbackFailed { .. }
                    | Fact::CallbackRefused { .. }
                    | Fact::Operated { .. }
                    | Fact::Held { .. }
                    | Fact::HeldTaken
                    | Fact::OperationRefused { .. }
            )
        };
        if let Some(entry) = entries.iter().find(of_after_the_end).filter(|_| before.is_ended()) {
            self.breaks(Law::FinalEnd, format!("after it was {before}: {:?}", entry.fact));
        }
    }

    fn check_entries(&mut self, live: &Instance, entries: &[Entry]) {
        for entry in entries {
            match &entry.fact {
                Fact::Failing { cause, .. } => self.check_cause(cause),
                Fact::TimedOut { step } => self.check_deadline(live, *step),
                Fact::Resolved { step, resolution } => {
                    self.saw(Sight::Resolved);
                    if !self.world.left.has(Fault::Haste) {
                        self.declare(*step, resolution);
                    }
                }
                Fact::WentForward => self.saw(Sight::WentForward),
                Fact::LateSuccess { .. } => self.saw(Sight::LateSuccess),
                Fact::UndoFailed { .. } => self.saw(Sight::UndoFailed),
                Fact::HeldTaken => self.saw(Sight::HeldTaken),
                _ => {}
            }
        }
    }

    /// A saga turns back for what has really happened.
    fn check_cause(&mut self, cause: &Cause) {
        let ledger = |step: &StepIndex| &self.world.parties[step.at()].ledger;
        let is_true = match cause {
            Cause::Rejected { step, .. } => ledger(step).has_refused || ledger(step).is_declared,
            Cause::Failed { step, .. } => ledger(step).has_failed,
            Cause::Cancelled { .. } => self.world.is_cancel_asked,
            Cause::SagaDeadline => return self.check_saga_deadline(),
            // It comes from the clock, and is checked as it fires.
            _ => true,
        };
        if !is_true {
            self.breaks(Law::Cause, format!("it turns back for what has not happened: {cause:?}"));
        }
    }

    fn check_saga_deadline(&mut self) {
        let due = self.model.config.deadline.map(|deadline| self.log().instance.started_at().after(deadline));
        let Some(due) = due.filter(|due| *due <= self.world.now) else {
            return self.breaks(Law::Cause, "the saga's deadline fires before its time");
        };
        let mut replies = self.world.parties.iter().flat_map(|party| &party.replies);
        if let Some(unread) =
            replies.find(|reply| reply.unread_since.is_some_and(|unread| unread < due)).cloned()
        {
            self.breaks(Law::Deadline, format!("the saga is taken for overdue; unread: {unread:?}"));
        }
    }

    fn check_deadline(&mut self, live: &Instance, step: StepIndex) {
        self.saw(Sight::DeadlineFired);
        let Some(deadline) = self.model.config.steps[step.at()].deadline else { return };
        // Of a later round it is not known from outside when it was sent.
        let due = live.step_input(step).1.after(deadline);
        let is_answer = |unread: Timestamp| live.round(step) == 1 && unread < due;
        let mut replies = self.world.parties[step.at()].replies.iter();
        let unread = replies.find(|reply| {
            reply.action == Action::Execute && reply.round == 1 && reply.unread_since.is_some_and(is_answer)
        });
        if let Some(unread) = unread.cloned() {
            self.breaks(Law::Deadline, format!("step {} is taken for silent; unread: {unread:?}", step.0));
        }
    }

    /// An operator has seen to it, and said so. What he says is true of the step as it is once its row is sealed; of one in haste, when he says
    /// so.
    fn declare(&mut self, step: StepIndex, resolution: &Resolution) {
        let ledger = &mut self.world.party_mut(step.at()).ledger;
        ledger.is_declared = true;
        ledger.effect = matches!(resolution, Resolution::Done { .. });
        ledger.times = 0;
    }

    fn see_status(&self) {
        match self.log().instance.status() {
            Status::Completed => self.saw(Sight::Completed),
            Status::RolledBack => self.saw(Sight::RolledBack),
            Status::Parked => self.saw(Sight::Parked),
            Status::Abandoned => self.saw(Sight::Abandoned),
            _ => {}
        }
    }

    /// Commands go to the bus. Announcements the definitions here have none, and callbacks go their own way.
    pub(crate) fn perform(&mut self, effect: Effect) {
        if let Effect::Command { step, action, round } = effect {
            self.send(step, action, round);
        }
    }

    fn send(&mut self, step: StepIndex, action: Action, round: u32) {
        let instance = &self.log().instance;
        let known = if action == Action::Execute { Known::Unknown } else { instance.known(step) };
        let dispatched_at = instance.step_input(step).1;
        let round = if self.is(Mutant::RoundNotCarried) { 1 } else { round };
        if round > 1 {
            self.saw(Sight::LaterRound);
        }
        let command = Command { action, round, known, dispatched_at };
        self.tale.say(|| format!("  sent to step {}: {command:?}", step.0));
        if !self.world.parties[step.at()].commands.contains(&command) {
            self.world.party_mut(step.at()).commands.push(command.clone());
        }
        self.sent.push((step.at(), Mail::Command(command)));
    }

    pub(crate) fn resend(&mut self) {
        let owed = self.log().instance.owed();
        if self.is(Mutant::SilenceIsFailure) {
            for effect in &owed {
                if let Effect::Command { step, action: Action::Execute, round } = effect {
                    let report = Report::Failed { reason: "silent".into() };
                    let (step, action, round) = (*step, Action::Execute, *round);
                    self.handle(Who::First, Event::Reply { step, action, round, report }, false);
                }
            }
        }
        owed.into_iter().for_each(|effect| self.perform(effect));
    }

    /// As the coordinator decides a wake: deadlines fire up to the oldest reply that is unread.
    pub(crate) fn wake(&mut self) {
        let unread =
            self.world.parties.iter().flat_map(|party| &party.replies).filter_map(|it| it.unread_since);
        let read_until = unread.min().map_or(Timestamp::MAX, |oldest| {
            Timestamp::from_millis(
                oldest.as_millis() - u64::try_from(SLACK.as_millis()).expect("it is short"),
            )
        });
        let now = self.world.now;
        let due = self.log().instance.next_deadline().filter(|due| *due <= now);
        if due.is_some_and(|due| due > read_until) {
            self.saw(Sight::DeadlineHeldUp);
        }
        let is_any_due = due.is_some_and(|due| due <= read_until);
        let takes_all =
            self.is(Mutant::DeadlineOverUnread) || is_any_due && self.is(Mutant::DeadlinesTogether);
        let deadlines_until = if takes_all { Timestamp::MAX } else { read_until };
        self.handle(Who::First, Event::Wake { deadlines_until }, false);
    }

    /// What changes nothing can be asked again.
    pub(crate) fn cancel(&mut self, by: Who) {
        self.world.is_cancel_asked = true;
        let version = self.log().instance.version();
        self.handle(by, Event::Cancel { who: "ann".into(), why: "because".into() }, true);
        if self.log().instance.version() == version {
            self.world.is_cancel_asked = false;
        } else {
            self.world.left.take(Fault::Cancel);
        }
    }

    pub(crate) fn operate(&mut self, deed: Deed, by: Who) {
        let version = self.log().instance.version();
        // Whoever is refused takes that for the truth.
        self.handle(by, deed.event(), by == Who::Second);
        if let Event::Operate(Operation { verb: Verb::Resolve { step, resolution }, .. }) = deed.event()
            && self.log().instance.version() != version
            && self.world.left.has(Fault::Haste)
        {
            self.declare(step, &resolution);
        }
        if self.log().instance.version() != version {
            self.world.left.take(match deed {
                Deed::Retry => Fault::Retry,
                Deed::Abandon => Fault::Abandon,
                Deed::Done(_) | Deed::NoEffect(_) | Deed::Undone(_) => Fault::Resolve,
            });
        }
    }

    /// The callback is made, with the id that the coordinator's shell gives it.
    pub(crate) fn called(&mut self) {
        let instance = &self.log().instance;
        let mut id = format!("{}/callback/{}", instance.run(), instance.status());
        if self.is(Mutant::CallbackIdPerAttempt) {
            let owed = instance.owed().into_iter().find_map(|effect| match effect {
                Effect::Callback { attempt, .. } => Some(attempt),
                _ => None,
            });
            id = format!("{id}/{}", owed.unwrap_or_default());
        }
        self.tale.say(|| format!("callback {id}"));
        if self.world.calls.iter().any(|call| **call == *id) {
            return self.saw(Sight::CalledAgain);
        }
        self.world.calls.push(id.into());
        if self.world.calls.len() > 1 {
            let calls = self.world.calls.join(", ");
            self.breaks(Law::OneCallback, format!("called with {calls}"));
        }
    }

    /// How a coordinator understands an event: as it is, unless it breaks a rule.
    fn as_understood(&self, event: Event) -> Event {
        match event {
            Event::Reply { step, action, round, report: Report::Failed { reason } }
                if self.is(Mutant::FailedTakenForRejected) =>
            {
                Event::Reply { step, action, round, report: Report::Rejected { reason } }
            }
            event => event,
        }
    }

    /// What coordinators do that break a rule.
    fn mutant_performs(&mut self, entries: &[Entry]) {
        for entry in entries {
            match &entry.fact {
                Fact::Unwinding { plan } if self.is(Mutant::UndoOrderIgnored) => {
                    for item in plan {
                        let round = self.log().instance.round(item.step);
                        self.send(item.step, item.action, round);
                    }
                }
                Fact::Started { .. } if self.is(Mutant::DependenciesIgnored) => {
                    for step in 0..self.world.parties.len() {
                        self.send(crate::acts::index(step), Action::Execute, 1);
                    }
                }
                Fact::UndoDispatched { step, action: Action::Fence, round }
                    if self.is(Mutant::FenceLeftOut) =>
                {
                    self.pretend_fenced(*step, *round, FenceAnswer::NoEffect);
                }
                Fact::Resolving { step, round, .. } if self.is(Mutant::ResolvedUnsealed) => {
                    self.pretend_fenced(*step, *round, FenceAnswer::Unknown);
                }
                _ => {}
            }
        }
    }

    fn pretend_fenced(&mut self, step: StepIndex, round: u32, answer: FenceAnswer) {
        let report = Report::Fenced { answer };
        self.world.party_mut(step.at()).commands.retain(|command| command.action != Action::Fence);
        self.handle(Who::First, Event::Reply { step, action: Action::Fence, round, report }, false);
    }
}
