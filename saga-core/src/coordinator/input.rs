//! What reaches a coordinator, and how each input is answered once its consequences are durable.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::outcome::Outcome;
use super::sagas::{CancelAnswer, StartError, Started};
use crate::definition::Definition;
use crate::error::Error;
use crate::machine::Event;
use crate::ports::{Delivery, Settlement};
use crate::record::{Action, HeldInput, NamedVerb, Payload, Report, RunId, SagaKey, Timestamp};

/// An input for one saga. It is kept until its consequences are durable, and decided anew if they could not be made so.
#[derive(Debug)]
pub(super) enum Input {
    Start(StartInput),
    Reply(ReplyInput),
    Cancel(CancelInput),
    Operate(OperateInput),
    /// It is due, or was taken over. Replies published up to `read_until` have been read: deadlines up to then may fire.
    Wake {
        taken_over: bool,
        read_until: Timestamp,
    },
    /// Someone in this process waits for its outcome.
    Await(oneshot::Sender<Outcome>),
    /// Something of its own was done.
    Did {
        run: RunId,
        event: Event,
    },
}

#[derive(Debug)]
pub(super) struct StartInput {
    pub(super) definition: Arc<Definition>,
    pub(super) run: RunId,
    pub(super) input: Payload,
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) from: From<Result<Started, StartError>>,
    pub(super) waiter: Option<oneshot::Sender<Outcome>>,
}

#[derive(Debug)]
pub(super) struct ReplyInput {
    /// `None` from a participant that sets no attributes: the current run and round are meant.
    pub(super) run: Option<(RunId, u32)>,
    pub(super) step: Arc<str>,
    pub(super) action: Action,
    pub(super) report: Report,
    pub(super) from: Letter,
}

#[derive(Debug)]
pub(super) struct CancelInput {
    /// Only this run, if the sender knows it.
    pub(super) run: Option<RunId>,
    pub(super) who: Arc<str>,
    pub(super) why: Arc<str>,
    pub(super) from: From<Result<CancelAnswer, Error>>,
}

#[derive(Debug)]
pub(super) struct OperateInput {
    pub(super) verb: NamedVerb,
    pub(super) who: Arc<str>,
    pub(super) why: Arc<str>,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

/// Where an input came from, and so where its answer goes.
#[derive(Debug)]
pub(super) enum From<T> {
    Call(oneshot::Sender<T>),
    Letter(Letter),
}

/// A delivery and the subscription it is to be settled with.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) reader: usize,
    pub(super) delivery: Delivery,
}

/// What was decided about an input. It is told once the decision is durable.
#[derive(Debug)]
pub(super) enum Decided {
    /// It is dealt with.
    Done,
    /// It cannot be: with the dead letters, for this reason; an operator or caller gets the reason as an error.
    Refused(Error),
    Started(Started),
    NotStarted(StartError),
    Cancel(CancelAnswer),
}

/// A settlement for the subscription of a reader.
pub(super) type Settling = (usize, Settlement);

impl Input {
    /// Whether, when it makes a saga be read from the log, what that owes is to be performed at once. What may have come before, to someone who died
    /// over it, is to be; a reply that comes for the first time is not. Where replies come to several coordinators, each copy of a command would bring a
    /// reply that makes another of them read the saga, and send more copies.
    pub(super) fn performs_anew(&self) -> bool {
        match self {
            Self::Start(_) | Self::Operate(_) => true,
            Self::Wake { read_until, .. } => *read_until > Timestamp::default(),
            Self::Reply(ReplyInput { from, .. })
            | Self::Cancel(CancelInput { from: From::Letter(from), .. }) => from.delivery.attempt > 1,
            Self::Cancel(_) | Self::Await(_) | Self::Did { .. } => false,
        }
    }

    /// Tells the decision; what is to be settled is returned.
    pub(super) fn conclude(self, decided: Decided) -> Option<Settling> {
        match self {
            Self::Start(start) => match start.from {
                From::Call(answer) => {
                    let result = match decided {
                        Decided::Started(started) => Ok(started),
                        Decided::NotStarted(error) => Err(error),
                        Decided::Refused(error) => Err(StartError::Failed(error)),
                        Decided::Done | Decided::Cancel(_) => unreachable!("not an answer to a start"),
                    };
                    // A caller that no longer listens can ask again: starting is idempotent.
                    let _gone = answer.send(result);
                    None
                }
                From::Letter(letter) => Some(match decided {
                    Decided::NotStarted(error) => letter.dead(error.to_string()),
                    decided => letter.settle(&decided),
                }),
            },
            Self::Reply(reply) => Some(reply.from.settle(&decided)),
            Self::Cancel(cancel) => match cancel.from {
                From::Call(answer) => {
                    let result = match decided {
                        Decided::Cancel(answer) => Ok(answer),
                        Decided::Refused(error) => Err(error),
                        other => unreachable!("not an answer to a cancel: {other:?}"),
                    };
                    let _gone = answer.send(result);
                    None
                }
                From::Letter(letter) => Some(letter.settle(&decided)),
            },
            Self::Operate(operate) => {
                let result = match decided {
                    Decided::Refused(error) => Err(error),
                    _ => Ok(()),
                };
                let _gone = operate.answer.send(result);
                None
            }
            Self::Wake { .. } | Self::Await(_) | Self::Did { .. } => None,
        }
    }

    /// How it is kept in the log when nobody here knows the saga's definition.
    pub(super) fn to_held(&self, run: RunId) -> Option<HeldInput> {
        match self {
            Self::Reply(reply) if reply.run.is_none_or(|(of, _)| of == run) => Some(HeldInput::Reply {
                step: Arc::clone(&reply.step),
                action: reply.action,
                round: reply.run.map_or(1, |(_, round)| round),
                report: reply.report.clone(),
            }),
            Self::Cancel(cancel) if cancel.run.is_none_or(|of| of == run) => {
                Some(HeldInput::Cancel { who: Arc::clone(&cancel.who), why: Arc::clone(&cancel.why) })
            }
            _ => None,
        }
    }
}

impl Letter {
    fn settle(self, decided: &Decided) -> Settling {
        match decided {
            Decided::Refused(error) => self.dead(error.to_string()),
            Decided::Done | Decided::Started(_) | Decided::NotStarted(_) | Decided::Cancel(_) => {
                (self.reader, self.delivery.ack())
            }
        }
    }

    pub(super) fn dead(self, reason: String) -> Settling {
        (self.reader, self.delivery.dead_letter(reason))
    }
}

/// An input on its way to its saga.
pub(super) type Addressed = (SagaKey, Input);
