use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::headers::HeadersMut;
use super::{Malformed, Message, attributes, text};
use crate::record::{Action, FenceAnswer, MessageId, Payload, Report, RunId, SagaKey, Timestamp, Topic};

/// What a participant answers to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The saga.
    pub key: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// The step's name.
    pub step: Arc<str>,
    /// What was asked.
    pub action: Action,
    /// In which round.
    pub round: u32,
    /// The answer.
    pub report: Report,
    /// The W3C trace context, passed on.
    pub traceparent: Option<Arc<str>>,
}

/// The payload of a reply that carries a reason instead of an output.
#[derive(Serialize, Deserialize)]
struct Reason<'a> {
    #[serde(borrow)]
    reason: std::borrow::Cow<'a, str>,
}

impl Reply {
    /// The message that carries it on `topic`; `source` is the CloudEvents source.
    pub fn into_message(self, topic: Topic, source: &str) -> Message {
        let (run, round) = (&mut [0; 32], &mut [0; 10]);
        let parts = [self.run.text(run), &self.step, self.action.as_str(), text::decimal(self.round, round)];
        let id =
            MessageId::new(text::joined(&[parts[0], "/", parts[1], "/", parts[2], "/", parts[3], "/reply"]));
        let (verdict, payload) = write_report(self.report);
        let mut headers = HeadersMut::new();
        headers.put(attributes::SPECVERSION, "1.0");
        headers.put(attributes::TYPE, "saga.reply");
        headers.put(attributes::SOURCE, source);
        headers.put(attributes::SUBJECT, self.key.id.as_str());
        headers.put(attributes::CONTENT_TYPE, "application/json");
        headers.put(attributes::SAGA, &self.key.saga);
        headers.put(attributes::RUN, parts[0]);
        headers.put(attributes::STEP, &self.step);
        headers.put(attributes::ACTION, self.action.as_str());
        headers.put(attributes::ROUND, parts[3]);
        headers.put(attributes::VERDICT, verdict);
        if let Some(traceparent) = &self.traceparent {
            headers.put(attributes::TRACEPARENT, traceparent);
        }
        Message { topic, id, key: Some(self.key.id.shared()), headers: headers.freeze(), payload }
    }

    /// Reads a reply from a message. `None` when it does not carry the attributes of one: then it is for the user's codec.
    ///
    /// # Errors
    /// [`Malformed`] names the attribute that is missing or wrong.
    pub fn parse(message: &Message) -> Result<Option<Self>, Malformed> {
        let raw = Raw::read(message);
        if raw.action.is_none() || raw.run.is_none() {
            return Ok(None);
        }
        let action = raw.action()?;
        let report = read_report(message, action, raw.required("verdict", raw.verdict)?)?;
        Ok(Some(Self {
            key: raw.key()?,
            run: raw.run()?,
            step: text::shared(raw.required("step", raw.step)?),
            action,
            round: raw.round()?,
            report,
            traceparent: raw.traceparent.map(Into::into),
        }))
    }
}

fn write_report(report: Report) -> (&'static str, Payload) {
    let because =
        |reason: &str| Payload::json(&Reason { reason: reason.into() }).expect("a string is always JSON");
    match report {
        Report::Succeeded { output } => ("succeeded", output),
        Report::Rejected { reason } => ("rejected", because(&reason)),
        Report::Failed { reason } => ("failed", because(&reason)),
        Report::Undone => ("undone", Payload::default()),
        Report::UndoFailed { reason } => ("undo-failed", because(&reason)),
        Report::Fenced { answer: FenceAnswer::NoEffect } => ("no-effect", Payload::default()),
        Report::Fenced { answer: FenceAnswer::Done { output } } => ("done", output),
        Report::Fenced { answer: FenceAnswer::Unknown } => ("unknown", Payload::default()),
    }
}

fn read_report(message: &Message, action: Action, verdict: &str) -> Result<Report, Malformed> {
    let payload = message.payload.clone();
    let reason = || -> Arc<str> {
        // Another language's participant may say why in a form of its own: keep what can be shown of it.
        match serde_json::from_slice::<Reason<'_>>(&message.payload) {
            Ok(Reason { reason }) => reason.as_ref().into(),
            Err(_) => String::from_utf8_lossy(&message.payload).chars().take(500).collect::<String>().into(),
        }
    };
    Ok(match (action, verdict) {
        (Action::Execute, "succeeded") => Report::Succeeded { output: payload },
        (Action::Execute, "rejected") => Report::Rejected { reason: reason() },
        (Action::Execute, "failed") => Report::Failed { reason: reason() },
        (Action::Undo, "undone") => Report::Undone,
        (Action::Undo, "undo-failed") => Report::UndoFailed { reason: reason() },
        (Action::Fence, "no-effect") => Report::Fenced { answer: FenceAnswer::NoEffect },
        (Action::Fence, "done") => Report::Fenced { answer: FenceAnswer::Done { output: payload } },
        (Action::Fence, "unknown") => Report::Fenced { answer: FenceAnswer::Unknown },
        (action, other) => {
            return Err(Malformed::new(message, format!("verdict {other:?} does not answer {action}")));
        }
    })
}

/// The attributes of a command or reply, found in one pass.
pub(super) struct Raw<'a> {
    message: &'a Message,
    saga: Option<&'a str>,
    run: Option<&'a str>,
    pub(super) step: Option<&'a str>,
    action: Option<&'a str>,
    round: Option<&'a str>,
    subject: Option<&'a str>,
    time: Option<&'a str>,
    pub(super) reply_to: Option<&'a str>,
    pub(super) retry: Option<&'a str>,
    pub(super) verdict: Option<&'a str>,
    pub(super) output: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
}

impl<'a> Raw<'a> {
    pub(super) fn read(message: &'a Message) -> Self {
        let mut raw = Self {
            message,
            saga: None,
            run: None,
            step: None,
            action: None,
            round: None,
            subject: None,
            time: None,
            reply_to: None,
            retry: None,
            verdict: None,
            output: None,
            traceparent: None,
        };
        for (name, value) in message.headers.iter() {
            let slot = match name {
                attributes::SAGA => &mut raw.saga,
                attributes::RUN => &mut raw.run,
                attributes::STEP => &mut raw.step,
                attributes::ACTION => &mut raw.action,
                attributes::ROUND => &mut raw.round,
                attributes::SUBJECT => &mut raw.subject,
                attributes::TIME => &mut raw.time,
                attributes::REPLY_TO => &mut raw.reply_to,
                attributes::RETRY => &mut raw.retry,
                attributes::VERDICT => &mut raw.verdict,
                attributes::OUTPUT => &mut raw.output,
                attributes::TRACEPARENT => &mut raw.traceparent,
                _ => continue,
            };
            *slot = Some(value);
        }
        raw
    }

    pub(super) fn required(&self, name: &str, value: Option<&'a str>) -> Result<&'a str, Malformed> {
        value.ok_or_else(|| Malformed::new(self.message, format!("attribute {name} is missing")))
    }

    pub(super) fn key(&self) -> Result<SagaKey, Malformed> {
        let saga = self.required("saga", self.saga)?;
        let id = self.required("subject", self.subject)?;
        super::command::saga_key(saga, id, self.message.key.as_ref())
            .map_err(|e| Malformed::new(self.message, e.to_string()))
    }

    pub(super) fn run(&self) -> Result<RunId, Malformed> {
        let text = self.required("run", self.run)?;
        text.parse().map_err(|e: crate::record::InvalidName| Malformed::new(self.message, e.to_string()))
    }

    pub(super) fn action(&self) -> Result<Action, Malformed> {
        let text = self.required("action", self.action)?;
        Action::from_name(text)
            .ok_or_else(|| Malformed::new(self.message, format!("action {text:?} is not known")))
    }

    pub(super) fn round(&self) -> Result<u32, Malformed> {
        let text = self.required("round", self.round)?;
        text.parse().map_err(|_| Malformed::new(self.message, format!("round {text:?} is not a number")))
    }

    pub(super) fn time(&self) -> Result<Timestamp, Malformed> {
        let text = self.required("time", self.time)?;
        Timestamp::parse(text)
            .ok_or_else(|| Malformed::new(self.message, format!("time {text:?} is not RFC 3339 in UTC")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SagaId;

    #[test]
    fn every_reply_reads_back_from_its_message() {
        let because = || Arc::<str>::from("no \"stock\"\nleft");
        let output = || Payload::from("{\"a\":1}");
        let reports = [
            (Action::Execute, Report::Succeeded { output: output() }),
            (Action::Execute, Report::Rejected { reason: because() }),
            (Action::Execute, Report::Failed { reason: because() }),
            (Action::Undo, Report::Undone),
            (Action::Undo, Report::UndoFailed { reason: because() }),
            (Action::Fence, Report::Fenced { answer: FenceAnswer::NoEffect }),
            (Action::Fence, Report::Fenced { answer: FenceAnswer::Done { output: output() } }),
            (Action::Fence, Report::Fenced { answer: FenceAnswer::Unknown }),
        ];
        for (action, report) in reports {
            let reply = Reply {
                key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
                run: RunId::from_u128(7),
                step: "payment".into(),
                action,
                round: 3,
                report,
                traceparent: None,
            };
            let message = reply.clone().into_message(Topic::new("checkout.replies").unwrap(), "/saga");
            assert_eq!(Reply::parse(&message), Ok(Some(reply)));
        }
    }

    #[test]
    fn a_message_without_attributes_is_not_a_reply() {
        let message = Message::new(Topic::new("t").unwrap(), Payload::from("{}"));
        assert_eq!(Reply::parse(&message), Ok(None));
    }

    #[test]
    fn an_answer_to_another_question_is_malformed() {
        let headers = [
            (attributes::ACTION, "undo"),
            (attributes::VERDICT, "succeeded"),
            (attributes::RUN, "00000000000000000000000000000007"),
        ];
        let mut message = Message::new(Topic::new("t").unwrap(), Payload::default());
        message.headers = headers.into_iter().collect();
        let error = Reply::parse(&message).unwrap_err().to_string();
        assert!(error.contains("does not answer undo"), "{error}");
    }
}
