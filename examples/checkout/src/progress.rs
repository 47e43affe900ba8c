//! How far things are, while they take their time.

use std::time::{Duration, Instant};

use saga::EventBus;

use crate::desk::Desk;
use crate::tally::grouped;

/// Shows it for ever, at intervals that suit a terminal or a file.
pub(crate) async fn show(desk: &Desk, begun: Instant) {
    let interval = Duration::from_millis(if desk.screen.is_terminal() { 200 } else { 3_000 });
    loop {
        tokio::time::sleep(interval).await;
        if desk.tally().all_ended.is_some() {
            desk.screen.progress(waiting(desk));
        } else if !desk.screen.is_live() {
            let progress = desk.tally().progress(begun.elapsed());
            desk.screen.progress(with_trouble(progress, &*desk.bus));
        }
    }
}

/// The progress, and why there may be none.
pub(crate) fn with_trouble(progress: String, bus: &dyn EventBus) -> String {
    let problems = bus.health().problems;
    let Some(first) = problems.first() else { return progress };
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{progress}; the bus: {}: {}{more}", first.part, first.reason)
}

fn waiting(desk: &Desk) -> String {
    let waiting = grouped(desk.call.waiting() as u64);
    let problem = desk.call.with(|calls| calls.problem.clone());
    let problem = problem.map(|problem| format!("; {problem}")).unwrap_or_default();
    format!("all orders have ended; unanswered completion calls: {waiting}{problem}")
}
