//! One test for each rule, named after it.

mod executing;
mod fencing;
mod kept;
mod transactions;
mod undoing;

use std::sync::Arc;
use std::time::Duration;

use super::Row;
use crate::ports::{Claim, ClaimAnswer, ClaimToken, Completed, Effects, Known, Performed, Task};
use crate::record::{Action, FenceAnswer, Payload, Report, RunId, Timestamp};

const HOLD: Duration = Duration::from_millis(10);
const HORIZON: u64 = 100;

/// A row, the time, and what the coordinator would put into its commands.
struct Bench {
    row: Row,
    now: u64,
    known: Known,
    dispatched_at: u64,
    effects: Effects,
}

fn bench() -> Bench {
    Bench {
        row: Row::default(),
        now: 1_000,
        known: Known::Unknown,
        dispatched_at: HORIZON,
        effects: Effects::Anywhere,
    }
}

impl Bench {
    fn claim(&mut self, action: Action, round: u32) -> ClaimAnswer {
        let claim = Claim {
            task: Task { run: RunId::from_u128(1), step: "pay".into() },
            action,
            round,
            known: self.known.clone(),
            dispatched_at: Timestamp::from_millis(self.dispatched_at),
            hold: HOLD,
            effects: self.effects,
        };
        // Every answer must be the same from a row that was stored in between.
        let stored = serde_json::to_string(&self.row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&stored).unwrap(), self.row);
        self.row.claim(&claim, Timestamp::from_millis(HORIZON), Timestamp::from_millis(self.now))
    }

    /// Claims, and must be told to run.
    #[track_caller]
    fn run(&mut self, action: Action, round: u32) -> (ClaimToken, u32, Option<Payload>) {
        match self.claim(action, round) {
            ClaimAnswer::Run { token, action: ran, attempt, output } => {
                assert_eq!(ran, action);
                (token, attempt, output)
            }
            other => panic!("{action} in round {round} was answered {other:?}"),
        }
    }

    #[track_caller]
    fn replies(&mut self, action: Action, round: u32) -> Report {
        match self.claim(action, round) {
            ClaimAnswer::Reply(report) => report,
            other => panic!("{action} in round {round} was answered {other:?}"),
        }
    }

    fn end(&mut self, token: ClaimToken, performed: Performed) -> Completed {
        self.row.complete(token, performed, Timestamp::from_millis(self.now))
    }

    /// Executes once, to this end.
    fn executed(mut self, round: u32, performed: Performed) -> Self {
        let (token, ..) = self.run(Action::Execute, round);
        let _ = self.end(token, performed);
        self
    }

    /// Undoes once, to this end.
    fn undid(mut self, round: u32, performed: Performed) -> Self {
        let (token, ..) = self.run(Action::Undo, round);
        let _ = self.end(token, performed);
        self
    }

    fn later(&mut self) {
        self.now += 10;
    }
}

fn done(n: u8) -> Report {
    Report::Succeeded { output: Payload::from(vec![b'0' + n]) }
}

fn output(n: u8) -> Option<Payload> {
    Some(Payload::from(vec![b'0' + n]))
}

fn why(text: &str) -> Arc<str> {
    text.into()
}

fn rejected() -> Report {
    Report::Rejected { reason: why("no") }
}

fn failed() -> Report {
    Report::Failed { reason: why("broke") }
}

fn undo_failed() -> Report {
    Report::UndoFailed { reason: why("stuck") }
}

fn fenced(answer: FenceAnswer) -> Report {
    Report::Fenced { answer }
}
