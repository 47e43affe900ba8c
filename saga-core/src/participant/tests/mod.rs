//! The shell against a bus that tells what was done to it, in order, under virtual time.

mod bus;
mod chaos;
mod faults;
mod outcomes;
mod shutdown;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::bus::{Done, TestBus};
use super::{Participant, ServeOptions, handler};
use crate::contract::Contract;
use crate::error::Error;
use crate::memory::{MemoryInbox, TokioClock};
use crate::ports::{Clock, Inbox, StepContext, StepError, Undo};
use crate::record::{Action, Payload, Report, Retry, RunId, SagaId, SagaKey, Timestamp, Topic};
use crate::wire::{Command, Known, Message, Reply};

const PAY: Contract<u32, u32> = Contract::new("pay");

/// A participant that serves [`PAY`], and what is around it.
struct Rig {
    bus: Arc<TestBus>,
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    options: ServeOptions,
}

/// A participant at work.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Rig {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp::from_millis(1_000_000)));
        let options = ServeOptions {
            retry: Retry::DEFAULT.attempts(3).delays(ms(100), ms(1_000)),
            ..ServeOptions::default()
        };
        Self {
            bus: Arc::new(TestBus::default()),
            inbox: Arc::new(MemoryInbox::new(Arc::clone(&clock))),
            clock,
            options,
        }
    }

    /// Starts a participant with these closures as its handler.
    fn serve<F, G>(
        &self,
        execute: impl Fn(u32, StepContext) -> F + Send + Sync + 'static,
        undo: impl Fn(Undo<u32, u32>, StepContext) -> G + Send + Sync + 'static,
    ) -> Running
    where
        F: Future<Output = Result<u32, StepError>> + Send + 'static,
        G: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        let (bus, inbox) = (Arc::clone(&self.bus), Arc::clone(&self.inbox));
        let mut participant = Participant::new(bus, inbox, Arc::clone(&self.clock));
        participant.serve(&PAY, handler(execute).undo(undo), self.options.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        Running { stop, task: tokio::spawn(participant.run(shutdown)) }
    }

    /// Starts a participant whose undo is not expected.
    fn execute<F>(&self, execute: impl Fn(u32, StepContext) -> F + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Result<u32, StepError>> + Send + 'static,
    {
        self.serve(execute, |undo, _| async move { panic!("asked to undo {undo:?}") })
    }

    /// Starts a participant whose execution is not expected.
    fn undo<G>(&self, undo: impl Fn(Undo<u32, u32>, StepContext) -> G + Send + Sync + 'static) -> Running
    where
        G: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        self.serve(|n, _| async move { panic!("asked to execute {n}") }, undo)
    }
}

impl Running {
    /// Shuts it down, and returns what it returns.
    async fn stop(self) -> Result<(), Error> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn command(action: Action) -> Command {
    Command {
        key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
        run: RunId::from_u128(7),
        step: "payment".into(),
        action,
        round: 1,
        dispatched_at: Timestamp::from_millis(1_000_000),
        known: Known::Unknown,
        retry: None,
        reply_to: Topic::new("checkout.replies").unwrap(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        input: Payload::from("20"),
    }
}

/// An undo of a step that the inbox cannot vouch for.
fn undo() -> Command {
    Command { known: Known::Failed, ..command(Action::Undo) }
}

fn run(n: u128, command: Command) -> Command {
    Command { run: RunId::from_u128(n), ..command }
}

fn report(message: &Message) -> Report {
    Reply::parse(message).unwrap().unwrap().report
}

fn succeeded(output: &'static str) -> Report {
    Report::Succeeded { output: Payload::from(output) }
}

/// The reason of a failure.
fn reason(report: Report) -> String {
    match report {
        Report::Rejected { reason } | Report::Failed { reason } | Report::UndoFailed { reason } => {
            reason.to_string()
        }
        other => panic!("{other:?} is no failure"),
    }
}
