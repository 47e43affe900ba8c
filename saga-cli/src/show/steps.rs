//! The steps of a saga: how each stands, when it was sent and answered, and what was said.

use saga::Timestamp;
use saga::machine::{StepState, StepView, View};
use saga::operator::LiveSheet;
use saga::record::{Action, Fact, StepIndex};
use serde_json::json;

use crate::table::table;

/// When things happened to a step, by its record.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    sent: Option<Timestamp>,
    answered: Option<Timestamp>,
    undo_sent: Option<Timestamp>,
    undone: Option<Timestamp>,
}

pub(super) fn text(live: &LiveSheet, view: &View, payloads: bool) -> String {
    let heading = ["STEP", "KIND", "STATE", "ROUND", "SENT", "ANSWERED", "UNDO SENT", "UNDONE", "WHY"];
    let clock =
        |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string()[11..23].to_owned());
    let rows = view.steps.iter().enumerate().map(|(at, step)| {
        let times = times(live, at);
        let (state, mut why) = state(step);
        if payloads && let Some(output) = &step.output {
            why = format!("{why} output: {}", String::from_utf8_lossy(output)).trim_start().to_owned();
        }
        [
            step.name.to_string(),
            step.kind.to_string(),
            state.to_owned(),
            step.round.to_string(),
            clock(times.sent),
            clock(times.answered),
            clock(times.undo_sent),
            clock(times.undone),
            why,
        ]
    });
    table(heading, &rows.collect::<Vec<_>>())
}

pub(super) fn json(live: &LiveSheet, view: &View, payloads: bool) -> serde_json::Value {
    let steps = view.steps.iter().enumerate().map(|(at, step)| {
        let Times { sent, answered, undo_sent, undone } = times(live, at);
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let (state, why) = state(step);
        let mut shown = json!({
            "step": step.name,
            "kind": step.kind,
            "state": state,
            "round": step.round,
            "why": if why.is_empty() { None } else { Some(why) },
            "sent_at": text(sent),
            "answered_at": text(answered),
            "undo_sent_at": text(undo_sent),
            "undone_at": text(undone),
            "silent_since": text(step.silent_since),
        });
        if payloads {
            shown["output"] = step.output.as_ref().map(|output| String::from_utf8_lossy(output)).into();
        }
        shown
    });
    steps.collect::<Vec<_>>().into()
}

/// A state in a word, and what was said.
fn state(step: &StepView) -> (&'static str, String) {
    let said = |reason: &str| reason.to_owned();
    match &step.state {
        StepState::Waiting => ("waiting", String::new()),
        StepState::Running => ("running", String::new()),
        StepState::Done => ("done", String::new()),
        StepState::Rejected(reason) => ("rejected", said(reason)),
        StepState::Failed(reason) => ("failed", said(reason)),
        StepState::Unanswered => ("unanswered", String::new()),
        StepState::Blocked(reason) => ("blocked", said(reason)),
        StepState::UndoPlanned => ("undo planned", String::new()),
        StepState::Undoing => ("undoing", String::new()),
        StepState::Fencing => ("fencing", String::new()),
        StepState::Resolving => ("resolving", String::new()),
        StepState::Stuck(reason) => ("stuck", said(reason)),
        StepState::Undone => ("undone", String::new()),
        other => ("other", format!("{other:?}")),
    }
}

/// The last time of each.
fn times(live: &LiveSheet, at: usize) -> Times {
    let mut times = Times::default();
    let is_it = |step: &StepIndex| step.at() == at;
    for entry in &live.stored.entries {
        let place = match &entry.fact {
            Fact::Dispatched { step, .. } if is_it(step) => &mut times.sent,
            Fact::Succeeded { step, .. }
            | Fact::LateSuccess { step, .. }
            | Fact::Rejected { step, .. }
            | Fact::Failed { step, .. }
                if is_it(step) =>
            {
                &mut times.answered
            }
            Fact::UndoDispatched { step, action: Action::Undo, .. } if is_it(step) => &mut times.undo_sent,
            Fact::Undone { step } if is_it(step) => &mut times.undone,
            _ => continue,
        };
        *place = Some(entry.at);
    }
    times
}
