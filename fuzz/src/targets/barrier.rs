use std::time::Duration;

use saga::ErrorKind;
use saga::participant::barrier::Row;
use saga::ports::{Claim, ClaimAnswer, ClaimToken, Effects, Known, Performed, Task};
use saga::record::{Action, FenceAnswer, Payload, Report, RunId, Timestamp};
use saga_sql::fuzz::{read_barrier_row, written_barrier_row};

/// The first line is a row as it is stored; each other one a claim, `execute round milliseconds`, or how the last claim went, as `succeeded`.
/// Milliseconds pass before.
pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let task = Task { run: RunId::from_u128(7), step: "step".into() };
    let mut row = match read_barrier_row(&task, lines.next().unwrap_or_default()) {
        Ok(row) => row,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    };
    let mut now = Timestamp::from_millis(1_795_335_330_250);
    let mut claimed = ClaimToken(0);
    for line in lines {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or_default();
        let (round, passed_ms) = (number(), number());
        now = now.after(Duration::from_millis(passed_ms.into()));
        if let Some(action) = Action::from_name(verb) {
            let is_bound = passed_ms % 2 == 1;
            let claim = Claim {
                task: task.clone(),
                action,
                round,
                known: known(action, passed_ms),
                dispatched_at: now,
                hold: Duration::from_secs(10),
                effects: if is_bound { Effects::InTransaction } else { Effects::Anywhere },
            };
            let before = row.clone();
            match row.claim(&claim, Timestamp::from_millis(1), now) {
                ClaimAnswer::Run { token, .. } => {
                    assert!(row.is_held_by(token) && row.is_held(now), "who is to run holds the row");
                    claimed = token;
                }
                ClaimAnswer::Busy { .. } => assert_eq!(row, before, "a busy row does not change"),
                ClaimAnswer::Reply(_) | ClaimAnswer::Stale => {}
            }
        } else if let Some(performed) = performed(verb) {
            let _completed = row.complete(claimed, performed, now);
        }
        is_stored(&task, &row, now);
    }
}

const fn known(action: Action, passed_ms: u32) -> Known {
    match (action, passed_ms % 3) {
        (Action::Execute, _) | (_, 0) => Known::Unknown,
        (_, 1) => Known::Succeeded(None),
        _ => Known::Failed,
    }
}

fn performed(verb: &str) -> Option<Performed> {
    let reason = || "why".into();
    Some(Performed::Final(match verb {
        "succeeded" => Report::Succeeded { output: Payload::from("1") },
        "rejected" => Report::Rejected { reason: reason() },
        "failed" => Report::Failed { reason: reason() },
        "undone" => Report::Undone,
        "undo-failed" => Report::UndoFailed { reason: reason() },
        "fenced" => Report::Fenced { answer: FenceAnswer::Unknown },
        "again" => return Some(Performed::Again),
        _ => return None,
    }))
}

/// What is stored comes back.
fn is_stored(task: &Task, row: &Row, now: Timestamp) {
    let text = written_barrier_row(task, row, now).expect("a row can be stored");
    assert_eq!(read_barrier_row(task, &text).as_ref().ok(), Some(row), "a row is not read as it was written");
}
