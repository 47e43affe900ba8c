//! Deciding: a saga's queued inputs become entries, to go with the next group commit.

use std::sync::Arc;

use super::engine::Engine;
use super::input::{CancelInput, Decided, Input, OperateInput, ReplyInput, StartInput};
use super::options::CoordinatorOptions;
use super::sagas::{CancelAnswer, StartError, Started};
use super::slot::{Pending, Slot};
use crate::error::{Error, ErrorKind};
use crate::machine::{Event, Impossible, Instance};
use crate::ports::Append;
use crate::record::{Entry, Fact, NamedVerb, Operation, SagaKey, Status, Timestamp, Verb};

impl Engine {
    /// Decides while the log still commits what was decided before. What comes in for one saga until that is over goes with one append.
    pub(super) fn decide_queued(&mut self) {
        while let Some(key) = self.queue.pop_front() {
            self.decide(key);
        }
    }

    fn decide(&mut self, key: SagaKey) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.is_queued = false;
        if slot.is_busy || slot.inputs.is_empty() {
            return;
        }
        let waiting = slot.pending.append.take();
        let (expected, mut entries) = match (waiting, &slot.instance, slot.inputs.front()) {
            (Some(waiting), ..) => (waiting.expected, waiting.entries),
            (None, Some(instance), _) => (instance.version(), Vec::new()),
            (None, None, Some(Input::Start(_))) if slot.is_unread => {
                let Some(Input::Start(start)) = slot.inputs.pop_front() else { unreachable!("just seen") };
                self.admitted += usize::from(!slot.is_admitted);
                (0, begin(slot, start, now))
            }
            (None, None, _) => {
                slot.is_busy = true;
                self.to_load.push(key);
                return;
            }
        };
        let woken = slot.inputs.iter().filter(|input| matches!(input, Input::Wake { .. })).count();
        decide_inputs(slot, &key, &mut entries, now, &self.shared.options);
        self.woken -= woken;
        self.file(&key, expected, entries, now);
        self.gather(key, now);
    }

    /// Makes the append of these entries, filed as the saga now stands. Without entries it verifies that what was decided on is still true.
    fn file(&mut self, key: &SagaKey, expected: u64, entries: Vec<Entry>, now: Timestamp) {
        let options = &self.shared.options;
        let slot = self.slots.get_mut(key).expect("the slot is being decided");
        let instance = slot.instance.as_ref().expect("it was decided on");
        let Pending { due, is_all, effects, is_first, alerts, .. } = &mut slot.pending;
        *is_all |= std::mem::take(&mut slot.is_unpublished);
        *is_first = !*is_all && due.is_empty();
        if *is_all {
            *effects = instance.owed();
            slot.performed_at = now;
        } else {
            effects.clone_from(due);
            effects.extend(instance.newly_owed(&entries));
        }
        let facts = entries.iter().map(|entry| &entry.fact);
        let telling = facts.filter(|fact| matches!(fact, Fact::Parked { .. } | Fact::Overdue));
        *alerts = telling.cloned().collect();
        // A deadline that may not fire yet does not wake it before: by then it may have left the memory, and with it the reason.
        let is_early = instance.next_deadline().is_some_and(|deadline| deadline < slot.deadlines_from);
        let not_before = if is_early { slot.deadlines_from } else { Timestamp::default() };
        let soon = now.after(options.wake_interval);
        let wake_at = instance.wake_at(now, &options.resend).map(|at| if at <= now { soon } else { at });
        let wake_at = wake_at.map(|at| at.max(not_before));
        let wake_at = wake_at.map(|at| self.tenure.on_the_logs_clock(at));
        slot.pending.append = Some(Box::new(Append {
            key: key.clone(),
            run: instance.run(),
            definition: instance.definition().id().clone(),
            expected,
            entries,
            status: instance.status(),
            wake_at,
            owner: Some(self.tenure.owner()),
            settled: instance.settled(),
        }));
    }
}

/// Begins a saga that the log is thought not to have; the append finds out.
fn begin(slot: &mut Slot, start: StartInput, now: Timestamp) -> Vec<Entry> {
    let (instance, entries) = Instance::start(
        Arc::clone(&start.definition),
        start.run,
        start.input.clone(),
        start.traceparent.clone(),
        now,
    );
    let started = Started { run: instance.run(), is_new: true, status: instance.status() };
    slot.instance = Some(Box::new(instance));
    slot.is_unread = false;
    slot.is_admitted = true;
    slot.performed_at = now;
    slot.pending.inputs.push((Input::Start(start), Decided::Started(started)));
    entries
}

fn decide_inputs(
    slot: &mut Slot,
    key: &SagaKey,
    entries: &mut Vec<Entry>,
    now: Timestamp,
    options: &CoordinatorOptions,
) {
    for input in std::mem::take(&mut slot.inputs) {
        let instance = slot.instance.as_mut().expect("decided on an instance");
        let (decided, more) = match &input {
            Input::Start(start) => (start_again(instance, start), Vec::new()),
            Input::Reply(reply) => decide_reply(instance, key, reply, now),
            Input::Cancel(cancel) => decide_cancel(instance, cancel, now),
            Input::Operate(operate) => decide_operate(instance, key, operate, now),
            Input::Wake { taken_over, read_until } => {
                (Decided::Done, decide_wake(slot, *taken_over, *read_until, now, options))
            }
            Input::Did { run, event } if *run == instance.run() => decided(instance, event.clone(), now),
            Input::Did { .. } | Input::Await(_) => (Decided::Done, Vec::new()),
        };
        entries.extend(more);
        slot.pending.inputs.push((input, decided));
    }
}

/// It is due. A take-over performs all that is owed again before any deadline may fire, and so does the first wake of a saga that came here by a
/// reply; otherwise what has been silent for long enough is performed again, and deadlines fire unless replies older than them are still unread.
fn decide_wake(
    slot: &mut Slot,
    taken_over: bool,
    read_until: Timestamp,
    now: Timestamp,
    options: &CoordinatorOptions,
) -> Vec<Entry> {
    let instance = slot.instance.as_mut().expect("decided on an instance");
    if taken_over || slot.is_unsure && read_until > Timestamp::default() {
        slot.is_unpublished = true;
        slot.deadlines_from = now.after(options.deadline_slack);
    }
    if !slot.is_unpublished {
        let owed = instance.owed().into_iter();
        let due = owed
            .filter(|effect| instance.is_due_again(*effect, Some(slot.performed_at), now, &options.resend));
        slot.pending.due.extend(due);
    }
    slot.performed_at = now;
    let deadlines_until = if slot.deadlines_from <= now { read_until } else { Timestamp::default() };
    decided(instance, Event::Wake { deadlines_until }, now).1
}

fn decided(instance: &mut Instance, event: Event, now: Timestamp) -> (Decided, Vec<Entry>) {
    match instance.decide(event, now) {
        Ok(entries) => (Decided::Done, entries),
        Err(impossible) => (Decided::Refused(refusal(&impossible)), Vec::new()),
    }
}

fn refusal(impossible: &Impossible) -> Error {
    let kind = match impossible {
        Impossible::NotSent { .. } => ErrorKind::NotFound,
        Impossible::NoAnswer { .. } => ErrorKind::Invalid,
        Impossible::NotAllowed { .. } => ErrorKind::NotAllowed,
    };
    Error::new(kind, impossible.to_string())
}

/// A start of a saga that is there: the same one, or another input under the same id.
fn start_again(instance: &Instance, start: &StartInput) -> Decided {
    if instance.run() == start.run {
        // Our own start, whose append was in doubt, is there after all.
        Decided::Started(Started { run: instance.run(), is_new: true, status: instance.status() })
    } else if instance.input() == &start.input {
        Decided::Started(Started { run: instance.run(), is_new: false, status: instance.status() })
    } else {
        Decided::NotStarted(StartError::InputDiffers { run: instance.run() })
    }
}

fn decide_reply(
    instance: &mut Instance,
    key: &SagaKey,
    reply: &ReplyInput,
    now: Timestamp,
) -> (Decided, Vec<Entry>) {
    let Some(step) = instance.definition().step_index(&reply.step) else {
        let message = format!("saga {key} has no step {}", reply.step);
        return (Decided::Refused(Error::new(ErrorKind::NotFound, message)), Vec::new());
    };
    let round = match reply.run {
        // Of an earlier start of this id: that saga is over.
        Some((run, _)) if run != instance.run() => return (Decided::Done, Vec::new()),
        Some((_, round)) => round,
        None => instance.round(step),
    };
    let event = Event::Reply { step, action: reply.action, round, report: reply.report.clone() };
    decided(instance, event, now)
}

fn decide_cancel(instance: &mut Instance, cancel: &CancelInput, now: Timestamp) -> (Decided, Vec<Entry>) {
    if cancel.run.is_some_and(|run| run != instance.run()) {
        return (Decided::Cancel(CancelAnswer::TooLate(instance.status())), Vec::new());
    }
    let event = Event::Cancel { who: Arc::clone(&cancel.who), why: Arc::clone(&cancel.why) };
    let entries = decided(instance, event, now).1;
    let answer = match instance.status() {
        Status::Running | Status::Unwinding | Status::Parked if instance.cause().is_some() => {
            CancelAnswer::Cancelling
        }
        status => CancelAnswer::TooLate(status),
    };
    (Decided::Cancel(answer), entries)
}

fn decide_operate(
    instance: &mut Instance,
    key: &SagaKey,
    operate: &OperateInput,
    now: Timestamp,
) -> (Decided, Vec<Entry>) {
    let index = |name: &Arc<str>| {
        instance
            .definition()
            .step_index(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("saga {key} has no step {name}")))
    };
    let verb = match &operate.verb {
        NamedVerb::Retry { step: None } => Ok(Verb::Retry { step: None }),
        NamedVerb::Retry { step: Some(step) } => index(step).map(|step| Verb::Retry { step: Some(step) }),
        NamedVerb::Resolve { step, resolution } => {
            index(step).map(|step| Verb::Resolve { step, resolution: resolution.clone() })
        }
        NamedVerb::Abandon => Ok(Verb::Abandon),
    };
    match verb {
        Ok(verb) => {
            let operation = Operation { verb, who: Arc::clone(&operate.who), why: Arc::clone(&operate.why) };
            decided(instance, Event::Operate(operation), now)
        }
        Err(error) => (Decided::Refused(error), Vec::new()),
    }
}
