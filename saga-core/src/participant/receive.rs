//! From a delivery to a claimed command.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Errand;
use super::reply::{After, Outgoing};
use super::worker::{Happening, Worker};
use crate::error::Error;
use crate::ports::{Claim, ClaimAnswer, Delivery, Effects, Task};
use crate::record::{Retry, Timestamp};
use crate::wire::{Command, Known};

/// How many commands are read at once.
const READ_BATCH_MAX: usize = 512;
/// How long after a failed read the next is tried.
const READ_RETRY_DELAY: Duration = Duration::from_millis(200);
/// How long a command waits at most before it asks again for a row that someone else has claimed.
const BUSY_RETRY_MAX: Duration = Duration::from_millis(500);
/// When a command is delivered again that the inbox or the bus kept from being served.
const AWAY_RETRY: Retry = Retry::FOREVER;

/// A command, and the delivery that brought it.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) command: Command,
}

/// A batch of claims that was answered.
#[expect(clippy::vec_box, reason = "a job is large and changes hands often")]
pub(super) struct Claimed {
    jobs: Vec<Box<Job>>,
    answers: Vec<Result<ClaimAnswer, Error>>,
    claimed_at: Timestamp,
}

impl Job {
    pub(super) fn task(&self) -> Task {
        Task { run: self.command.run, step: Arc::clone(&self.command.step) }
    }

    fn claim(&mut self, hold: Duration, effects: Effects) -> Claim {
        let task = self.task();
        let command = &mut self.command;
        Claim {
            task,
            action: command.action,
            round: command.round,
            known: std::mem::replace(&mut command.known, Known::Unknown),
            dispatched_at: command.dispatched_at,
            hold,
            effects,
        }
    }

    /// A number that is different for every delivery, and the same in every run of a simulation.
    pub(super) fn jitter(&self) -> u64 {
        let run = self.command.run.as_u128();
        #[expect(clippy::cast_possible_truncation, reason = "any of its bits will do")]
        let bits = (run ^ (run >> 64)) as u64;
        xxhash_rust::xxh3::xxh3_64_with_seed(
            self.command.step.as_bytes(),
            bits ^ u64::from(self.delivery.attempt),
        )
    }

    /// How long to wait with this delivery while the inbox or the bus is away.
    pub(super) fn away_delay(&self) -> Duration {
        AWAY_RETRY.delay_with(self.delivery.attempt, self.jitter())
    }
}

impl Worker {
    pub(super) fn read(&mut self) {
        if self.is_reading || self.is_draining() || self.waiting.len() >= READ_BATCH_MAX {
            return;
        }
        self.is_reading = true;
        let subscription = Arc::clone(&self.subscription);
        self.begin(async move { Happening::Read(subscription.next(READ_BATCH_MAX).await) });
    }

    pub(super) fn has_read(&mut self, result: Result<Vec<Delivery>, Error>) {
        self.is_reading = false;
        match result {
            Ok(deliveries) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(topic = %self.served.topic, "commands can be read again");
                }
                deliveries.into_iter().for_each(|delivery| self.receive(delivery));
            }
            Err(_) if self.is_draining() => {}
            Err(error) if error.is_retryable() => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(topic = %self.served.topic, %error, "commands cannot be read; trying again");
                }
                // Reading is under way as long as nothing else may begin to read.
                self.is_reading = true;
                let clock = Arc::clone(&self.shared.clock);
                self.begin(async move {
                    clock.sleep(READ_RETRY_DELAY).await;
                    Happening::ReadAgain
                });
            }
            Err(error) => {
                let (contract, topic) = (self.served.contract, &self.served.topic);
                let message = format!("commands of contract {contract:?} cannot be read from topic {topic}");
                self.failure = Some(Error::new(error.kind(), message).with_source(error));
                self.drain();
            }
        }
    }

    fn receive(&mut self, delivery: Delivery) {
        if self.is_draining() {
            return;
        }
        match Command::parse(&delivery.message) {
            Ok(mut command) => {
                // Nearly all commands of a contract name one step: the rows of the inbox need not each have a copy.
                match &self.step {
                    Some(step) if *step == command.step => command.step = Arc::clone(step),
                    _ => self.step = Some(Arc::clone(&command.step)),
                }
                self.waiting.push_back(Box::new(Job { delivery, command }));
            }
            Err(malformed) => {
                tracing::warn!(topic = %self.served.topic, %malformed, "not a command: put with the dead letters");
                self.settlements.push(delivery.dead_letter(malformed.to_string()));
            }
        }
    }

    /// Claims as many as may run: the time of a claim passes whether its command runs or waits.
    pub(super) fn claim(&mut self) {
        let busy = self.running.len() + self.claiming;
        let count = self.served.options.concurrency.saturating_sub(busy).min(self.waiting.len());
        if self.claiming > 0 || count == 0 || self.is_draining() {
            return;
        }
        self.claiming = count;
        let hold = self.served.options.claim_hold;
        let effects = self.served.handler.effects();
        let mut jobs = self.waiting.drain(..count).collect::<Vec<_>>();
        let claims = jobs.iter_mut().map(|job| job.claim(hold, effects)).collect();
        let inbox = Arc::clone(&self.shared.inbox);
        let claimed_at = self.shared.clock.now();
        self.begin(async move {
            let answers = inbox.claim(claims).await;
            Happening::Claimed(Claimed { jobs, answers, claimed_at })
        });
    }

    pub(super) fn has_claimed(&mut self, claimed: Claimed) {
        self.claiming = 0;
        let Claimed { jobs, answers, claimed_at } = claimed;
        let time_limit =
            self.served.options.time_limit().saturating_sub(self.shared.clock.now().since(claimed_at));
        for (job, answer) in jobs.into_iter().zip(answers) {
            self.is_inbox_away &= answer.is_err();
            match answer {
                Ok(ClaimAnswer::Run { token, action, attempt, output }) => {
                    let effects = self.served.handler.effects();
                    self.run_code(Errand::new(job, token, action, attempt, effects), output, time_limit);
                }
                Ok(ClaimAnswer::Reply(report)) => {
                    self.outgoing.push(Outgoing { job, report, after: After::Ack });
                }
                Ok(ClaimAnswer::Stale) => self.settlements.push(job.delivery.ack()),
                Ok(ClaimAnswer::Busy { retry_after }) => {
                    // Claims are mostly given back long before their time is up, and an undo may be waiting here.
                    self.settlements.push(job.delivery.retry(retry_after.min(BUSY_RETRY_MAX)));
                }
                Err(error) => self.give_back(*job, &error),
            }
        }
    }

    /// The inbox could not be asked or told: the command comes again later.
    pub(super) fn give_back(&mut self, job: Job, error: &Error) {
        if !std::mem::replace(&mut self.is_inbox_away, true) {
            tracing::warn!(topic = %self.served.topic, %error, "the inbox does not answer; commands will come again");
        }
        let after = job.away_delay();
        self.settlements.push(job.delivery.retry(after));
    }
}
