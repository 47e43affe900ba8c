//! What the end of an attempt means: for the barrier, and for the delivery.

use std::fmt;
use std::sync::Arc;

use super::attempt::{End, Errand};
use super::reply::After;
use crate::ports::{Performed, StepErrorKind};
use crate::record::{Action, Report, Retry};

/// The longest reason that is stored and sent, in bytes; the rest is cut.
const REASON_BYTES_MAX: usize = 4_096;

/// What is to be told to the barrier, and what is to become of the delivery if the barrier agrees.
pub(super) struct Judged {
    pub(super) performed: Performed,
    pub(super) after: After,
}

/// Judges an attempt. `retry` is the contract's, for commands that bring none of their own.
pub(super) fn judge(errand: &Errand, end: End, retry: &Retry) -> Judged {
    let undo = errand.action == Action::Undo;
    let (reason, after) = match end {
        End::Done(_) if undo => return final_and(Report::Undone, After::Ack),
        End::Done(output) => return final_and(Report::Succeeded { output }, After::Ack),
        End::Undecodable(what) => {
            let dead = After::DeadLetter(what.clone());
            let reason = cut(what);
            let rejected = Report::Rejected { reason: Arc::clone(&reason) };
            return final_and(if undo { Report::UndoFailed { reason } } else { rejected }, dead);
        }
        End::Error(error) => match error.kind {
            StepErrorKind::Retry { after } => (error.reason, after),
            StepErrorKind::Fail => return given_up(errand, error.reason),
            StepErrorKind::Reject if undo => {
                (format!("an undo cannot be refused, yet it was: {}", error.reason), None)
            }
            StepErrorKind::Reject => {
                return final_and(Report::Rejected { reason: cut(error.reason) }, After::Ack);
            }
        },
        End::Panicked(text) => (format!("it panicked: {text}"), None),
        End::CutOff(limit) => (format!("it was cut off after {} ms", limit.as_millis()), None),
    };
    let retry = errand.job.command.retry.as_ref().unwrap_or(retry);
    if retry.is_spent(errand.attempt) {
        return given_up(errand, reason);
    }
    let delay = retry.delay_with(errand.attempt, errand.job.jitter()).max(after.unwrap_or_default());
    tracing::info!(attempt = %Named(errand), %reason, ?delay, "the attempt failed and will be repeated");
    Judged { performed: Performed::Again, after: After::Retry(delay) }
}

fn given_up(errand: &Errand, reason: String) -> Judged {
    let evidence = format!("given up after {}: {reason}", Named(errand));
    tracing::warn!(%evidence, "put with the dead letters");
    let reason = cut(match errand.attempt {
        1 => reason,
        attempts => format!("{attempts} attempts: {reason}"),
    });
    let report = match errand.action {
        Action::Undo => Report::UndoFailed { reason },
        Action::Execute | Action::Fence => Report::Failed { reason },
    };
    final_and(report, After::DeadLetter(evidence))
}

const fn final_and(report: Report, after: After) -> Judged {
    Judged { performed: Performed::Final(report), after }
}

fn cut(mut reason: String) -> Arc<str> {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason.into()
}

/// An attempt as a person reads it.
struct Named<'a>(&'a Errand);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Errand { job, action, attempt, .. } = self.0;
        let command = &job.command;
        write!(
            f,
            "attempt {attempt} to {action} step {} of saga {}, run {}, round {}",
            command.step, command.key, command.run, command.round
        )
    }
}
