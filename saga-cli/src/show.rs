//! `saga show`

mod steps;

use std::fmt::Write;

use saga::Timestamp;
use saga::machine::{Effect, View};
use saga::operator::{Action, LiveSheet, Sheet};
use saga::ports::Tombstone;
use saga::record::{SagaKey, Status};
use serde_json::json;

use crate::cli::{Place, Show};
use crate::fail::Failure;
use crate::out::print;
use crate::table::{plain, table};
use crate::time::{now, with_distance};

pub(crate) async fn run(place: &Place, wanted: Show) -> Result<(), Failure> {
    let key = wanted.key.0;
    let sheet = place.operator().await?.show(&key).await?;
    let text = match (&sheet, place.json) {
        (Sheet::Live(live), true) => format!("{}\n", json_of(&key, live, wanted.payloads)),
        (Sheet::Pruned(tombstone, audit), true) => format!("{}\n", json_of_pruned(&key, tombstone, audit)),
        (Sheet::Live(live), false) => text(&key, live, wanted.payloads),
        (Sheet::Pruned(tombstone, audit), false) => text_of_pruned(&key, tombstone, audit),
        (other, _) => format!("{other:?}\n"),
    };
    print(text)
}

// Writing to a string cannot fail, here and below.

fn text(key: &SagaKey, live: &LiveSheet, payloads: bool) -> String {
    let now = now();
    let stored = &live.stored;
    let mut text = format!("{key} is {}\n", stored.status);
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<11} {}", plain(value));
    };
    fact("run", &stored.run.to_string());
    fact("definition", &stored.definition.to_string());
    match live.view() {
        Ok(view) => facts_of(live, &view, now, payloads, &mut fact),
        Err(why) => fact("steps", why),
    }
    if let Some(at) = stored.wake_at {
        fact("next look", &with_distance(at, now));
    }
    if let Ok(view) = live.view() {
        let _ = writeln!(text, "\nsteps\n{}", steps::text(live, &view, payloads));
        let _ = writeln!(text, "owed next\n{}", owed(key, live, &view, now));
    }
    let history: Vec<_> = live.history().into_iter().enumerate().collect();
    let rows: Vec<_> = history
        .iter()
        .map(|(number, (at, what))| [number.to_string(), at.to_string(), what.clone()])
        .collect();
    let _ = write!(text, "history\n{}", table(["NO", "AT", "WHAT"], &rows));
    text
}

fn facts_of(
    live: &LiveSheet,
    view: &View,
    now: Timestamp,
    payloads: bool,
    fact: &mut impl FnMut(&str, &str),
) {
    fact("started", &with_distance(view.started_at, now));
    fact("changed", &with_distance(view.changed_at, now));
    if let Some(cause) = live.cause() {
        fact("failed", &cause);
    }
    if let Some(reason) = &view.parked {
        fact("parked", reason);
    }
    if view.overdue {
        fact("overdue", "its deadline passed after the point of no return");
    }
    if let Some(reason) = &view.callback_refused {
        fact("call", &format!("the completion call was refused: {reason}"));
    }
    if let Some(at) = live.next_deadline() {
        fact("deadline", &with_distance(at, now));
    }
    if payloads {
        fact("input", &String::from_utf8_lossy(&view.input));
    }
}

/// What is owed until it is answered, and by whom.
fn owed(key: &SagaKey, live: &LiveSheet, view: &View, now: Timestamp) -> String {
    let mut text = String::new();
    for (effect, since) in live.owed() {
        let since = with_distance(since, now);
        let _ = match effect {
            Effect::Command { step, action, round } => {
                let step = live.step_name(step);
                writeln!(text, "  {action} of {step}, round {round}: sent and not answered since {since}")
            }
            Effect::Announce(announcement) => {
                writeln!(text, "  the announcement {announcement}, since {since}")
            }
            Effect::Callback { attempt, not_before } => {
                let at = with_distance(not_before, now);
                writeln!(text, "  the completion call, attempt {attempt}, not before {at}")
            }
            other => writeln!(text, "  {other:?}"),
        };
    }
    if view.status == Status::Parked {
        let _ = writeln!(
            text,
            "  nothing by itself: saga retry {key}, saga resolve {key} --step STEP --as WHAT, or saga abandon {key}"
        );
    } else if view.callback_refused.is_some() {
        let _ = writeln!(text, "  nothing by itself: saga retry {key}, or saga abandon {key}");
    } else if text.is_empty() {
        text.push_str("  nothing\n");
    }
    text
}

fn text_of_pruned(key: &SagaKey, tombstone: &Tombstone, audit: &[Action]) -> String {
    let ended = with_distance(tombstone.ended_at, now());
    let (ending, run) = (tombstone.ending, tombstone.run);
    let mut text = format!(
        "{key} is {ending}\n  run         {run}\n  ended       {ended}\n  its record has been pruned\n"
    );
    if !audit.is_empty() {
        let rows: Vec<_> = audit.iter().map(|action| [action.at.to_string(), action.what.clone()]).collect();
        let _ = write!(text, "\nwhat operators did\n{}", table(["AT", "WHAT"], &rows));
    }
    text
}

fn json_of_pruned(key: &SagaKey, tombstone: &Tombstone, audit: &[Action]) -> serde_json::Value {
    let audit = audit.iter().map(|action| json!({ "at": action.at.to_string(), "what": action.what }));
    json!({
        "saga": key.saga,
        "id": key.id,
        "run": tombstone.run,
        "status": tombstone.ending,
        "ended_at": tombstone.ended_at.to_string(),
        "pruned": true,
        "audit": audit.collect::<Vec<_>>(),
    })
}

fn json_of(key: &SagaKey, live: &LiveSheet, payloads: bool) -> serde_json::Value {
    let stored = &live.stored;
    let view = live.view();
    let history: Vec<_> =
        live.history().into_iter().map(|(at, what)| json!({ "at": at.to_string(), "what": what })).collect();
    let owed: Vec<_> =
        live.owed().into_iter().map(|(effect, since)| json_of_owed(live, effect, since)).collect();
    let mut shown = json!({
        "saga": key.saga,
        "id": key.id,
        "run": stored.run,
        "status": stored.status,
        "definition": stored.definition,
        "version": stored.version,
        "wake_at": stored.wake_at.map(|at| at.to_string()),
        "failed": live.cause(),
        "owed": owed,
        "history": history,
    });
    match view {
        Ok(view) => {
            shown["started_at"] = view.started_at.to_string().into();
            shown["changed_at"] = view.changed_at.to_string().into();
            shown["parked"] = view.parked.as_deref().into();
            shown["overdue"] = view.overdue.into();
            shown["callback_refused"] = view.callback_refused.as_deref().into();
            shown["steps"] = steps::json(live, &view, payloads);
            if payloads {
                shown["input"] = String::from_utf8_lossy(&view.input).into();
            }
        }
        Err(why) => shown["unreadable"] = why.into(),
    }
    shown
}

fn json_of_owed(live: &LiveSheet, effect: Effect, since: Timestamp) -> serde_json::Value {
    let since = since.to_string();
    match effect {
        Effect::Command { step, action, round } => {
            json!({ "command": action, "step": live.step_name(step), "round": round, "since": since })
        }
        Effect::Announce(announcement) => json!({ "announcement": announcement, "since": since }),
        Effect::Callback { attempt, not_before } => {
            json!({ "callback_attempt": attempt, "not_before": not_before.to_string() })
        }
        other => json!({ "other": format!("{other:?}"), "since": since }),
    }
}
