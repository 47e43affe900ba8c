//! From the end of an attempt to the settled delivery: the verdict is stored, then sent, and only then is the command settled.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Errand;
use super::receive::Job;
use super::serve::{Served, Shared};
use super::verdict::judge;
use super::worker::{Happening, Worker};
use crate::error::Error;
use crate::ports::{Completed, Completion, Published, Settlement};
use crate::publish::publish_surely;
use crate::record::{FenceAnswer, Report};
use crate::wire::{Message, Reply};

/// How many batches of replies may be under way at once.
const SENDS_MAX: usize = 4;

/// What is to become of a delivery.
pub(super) enum After {
    Ack,
    Retry(Duration),
    DeadLetter(String),
}

/// A reply to be published, and what is to become of the command's delivery once it is.
pub(super) struct Outgoing {
    pub(super) job: Box<Job>,
    pub(super) report: Report,
    pub(super) after: After,
}

/// A batch of completions that was answered.
pub(super) struct Stored {
    ended: Vec<(Errand, After)>,
    answers: Vec<Result<Completed, Error>>,
}

impl Worker {
    pub(super) fn complete(&mut self) {
        self.take_completed();
        if self.is_completing || self.ended.is_empty() {
            return;
        }
        self.is_completing = true;
        let mut completions = Vec::with_capacity(self.ended.len());
        let mut ended = Vec::with_capacity(self.ended.len());
        for (errand, end) in self.ended.drain(..) {
            let judged = judge(&errand, end, &self.served.options.retry);
            let task = errand.job.task();
            completions.push(Completion { task, token: errand.token, performed: judged.performed });
            ended.push((errand, judged.after));
        }
        let inbox = Arc::clone(&self.shared.inbox);
        self.begin(async move {
            let answers = inbox.complete(completions).await;
            Happening::Completed(Stored { ended, answers })
        });
    }

    /// Those whose handlers have completed their claims themselves: their verdicts are stored already.
    fn take_completed(&mut self) {
        let is_completed = |errand: &Errand| errand.completed.as_ref().and_then(|slot| slot.get()).cloned();
        let mut nth = 0;
        while let Some((errand, _)) = self.ended.get(nth) {
            match is_completed(errand) {
                None => nth += 1,
                Some(completed) => {
                    let (errand, _) = self.ended.swap_remove(nth);
                    self.completed(errand, completed, After::Ack);
                }
            }
        }
    }

    pub(super) fn has_completed(&mut self, stored: Stored) {
        self.is_completing = false;
        for ((errand, after), answer) in stored.ended.into_iter().zip(stored.answers) {
            match answer {
                Ok(completed) => self.completed(errand, completed, after),
                Err(error) => self.give_back(*errand.job, &error),
            }
        }
    }

    fn completed(&mut self, errand: Errand, completed: Completed, after: After) {
        let Errand { job, action, .. } = errand;
        match completed {
            Completed::Reply(report) => {
                let after = match (after, &report) {
                    // An attempt to be repeated, or given up, that was overtaken by a verdict: there is nothing left to do.
                    (After::Retry(_), _) | (_, Report::Succeeded { .. } | Report::Undone) => After::Ack,
                    (after, _) => after,
                };
                if action == job.command.action {
                    self.outgoing.push(Outgoing { job, report, after });
                } else {
                    self.settlements.push(after.settle(*job));
                }
            }
            Completed::Free => self.settlements.push(after.settle(*job)),
            Completed::UndoAgain { token, attempt, output } => {
                let effects = self.served.handler.effects();
                let undo = Errand::new(job, token, crate::record::Action::Undo, attempt, effects);
                self.run_code(undo, output, self.served.options.time_limit());
            }
            Completed::Overtaken => self.settlements.push(match after {
                After::Retry(delay) => job.delivery.retry(delay),
                After::Ack | After::DeadLetter(_) => job.delivery.ack(),
            }),
        }
    }

    /// Sends what there is to be sent, and settles what there is to be settled.
    pub(super) fn send(&mut self) {
        if self.sends >= SENDS_MAX || (self.outgoing.is_empty() && self.settlements.is_empty()) {
            return;
        }
        self.sends += 1;
        let outgoing = std::mem::take(&mut self.outgoing);
        let mut settlements = std::mem::take(&mut self.settlements);
        let (shared, served) = (self.shared.clone(), Arc::clone(&self.served));
        let subscription = Arc::clone(&self.subscription);
        self.begin(async move {
            if !outgoing.is_empty() {
                publish(&shared, &served, outgoing, &mut settlements).await;
            }
            let _stale_ones_come_again = subscription.settle(settlements).await;
            Happening::Sent
        });
    }
}

impl After {
    fn settle(self, job: Job) -> Settlement {
        match self {
            Self::Ack => job.delivery.ack(),
            Self::Retry(delay) => job.delivery.retry(delay),
            Self::DeadLetter(reason) => job.delivery.dead_letter(reason),
        }
    }
}

/// Publishes replies, and decides by what became of them how their commands are settled.
async fn publish(
    shared: &Shared,
    served: &Served,
    replies: Vec<Outgoing>,
    settlements: &mut Vec<Settlement>,
) {
    let messages = replies.iter().map(|reply| message(served, &reply.job, reply.report.clone())).collect();
    let mut refused = Vec::new();
    for (reply, published) in
        replies.into_iter().zip(publish_surely(&*shared.bus, &*shared.clock, messages).await)
    {
        let Outgoing { job, report, after } = reply;
        match published {
            Published::Acked => settlements.push(after.settle(*job)),
            Published::Rejected(error) if carries_output(&report) => refused.push((job, report, error)),
            Published::Rejected(error) | Published::Unknown(error) => {
                settlements.push(come_again(*job, &error));
            }
        }
    }
    if !refused.is_empty() {
        publish_refusals(shared, served, refused, settlements).await;
    }
}

/// An output that the bus will not take, for its size perhaps, would leave the saga without an answer for ever. So it is told that
/// there is one which cannot be sent; the barrier keeps it for the undo.
async fn publish_refusals(
    shared: &Shared,
    served: &Served,
    refused: Vec<(Box<Job>, Report, Error)>,
    settlements: &mut Vec<Settlement>,
) {
    let messages = refused.iter().map(|(job, report, error)| {
        let report = match report {
            Report::Fenced { .. } => Report::Fenced { answer: FenceAnswer::Unknown },
            _ => Report::Failed {
                reason: format!("it is done, but its output cannot be sent: {error}").into(),
            },
        };
        message(served, job, report)
    });
    let published = publish_surely(&*shared.bus, &*shared.clock, messages.collect()).await;
    for ((job, _, refusal), published) in refused.into_iter().zip(published) {
        settlements.push(match published {
            Published::Acked => job.delivery.dead_letter(format!("its reply cannot be sent: {refusal}")),
            Published::Rejected(error) | Published::Unknown(error) => come_again(*job, &error),
        });
    }
}

/// The command is delivered again, and the barrier answers it with the stored verdict.
fn come_again(job: Job, error: &Error) -> Settlement {
    let command = &job.command;
    tracing::warn!(
        saga = %command.key.saga, id = %command.key.id, run = %command.run, step = %command.step,
        topic = %command.reply_to, %error, "the reply was not published; its command will come again",
    );
    let after = job.away_delay();
    job.delivery.retry(after)
}

fn message(served: &Served, job: &Job, report: Report) -> Message {
    let command = &job.command;
    let reply = Reply {
        key: command.key.clone(),
        run: command.run,
        step: Arc::clone(&command.step),
        action: command.action,
        round: command.round,
        report,
        traceparent: command.traceparent.clone(),
    };
    reply.into_message(command.reply_to.clone(), &served.source)
}

const fn carries_output(report: &Report) -> bool {
    matches!(report, Report::Succeeded { .. } | Report::Fenced { answer: FenceAnswer::Done { .. } })
}
