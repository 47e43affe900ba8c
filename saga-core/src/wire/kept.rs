//! Messages, as they are sent.

use std::time::Duration;

use super::{Command, Known, Message, Reply};
use crate::record::{Action, FenceAnswer, Payload, Report, Retry, RunId, SagaKey, Timestamp, Topic};

const COMMANDS: &str = include_str!("../../golden/commands.1.jsonl");
const REPLIES: &str = include_str!("../../golden/replies.1.jsonl");

/// A message on one line.
fn line(message: &Message) -> String {
    let headers: Vec<_> = message.headers.iter().collect();
    let payload = String::from_utf8(message.payload.to_vec()).unwrap();
    let parts = (message.topic.as_str(), message.id.as_str(), &message.key, headers, payload);
    serde_json::to_string(&parts).unwrap()
}

fn message(line: &str) -> Message {
    type Parts = (String, String, Option<String>, Vec<(String, String)>, String);
    let (topic, id, key, headers, payload): Parts = serde_json::from_str(line).unwrap();
    let mut message = Message::new(Topic::new(topic).unwrap(), payload.into_bytes()).with_id(id);
    message.key = key.map(Into::into);
    message.with_headers(headers.iter().map(|(name, value)| (&**name, &**value)))
}

fn key() -> SagaKey {
    SagaKey { saga: "checkout".into(), id: "order-17".parse().unwrap() }
}

fn output() -> Payload {
    Payload::from(br#"{"label":"L-1"}"#.to_vec())
}

#[test]
fn commands_are_written_and_read_as_they_were() {
    let plain = Command {
        key: key(),
        run: RunId::from_u128(7),
        step: "charge".into(),
        action: Action::Execute,
        round: 1,
        dispatched_at: Timestamp::from_millis(1_795_335_330_250),
        known: Known::Unknown,
        retry: None,
        reply_to: Topic::new("checkout.replies").unwrap(),
        traceparent: None,
        input: Payload::from(br#"{"cents":1999}"#.to_vec()),
    };
    let retry = Retry::DEFAULT.attempts(4).delays(Duration::from_millis(50), Duration::from_secs(2));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
    let undo = |known| Command { action: Action::Undo, round: 2, known, ..plain.clone() };
    let commands = [
        plain.clone(),
        Command { retry: Some(retry), traceparent: Some(traceparent), ..plain.clone() },
        undo(Known::Unknown),
        undo(Known::Succeeded(None)),
        undo(Known::Succeeded(Some(output()))),
        undo(Known::Failed),
        Command { action: Action::Fence, ..plain.clone() },
    ];
    let topic = Topic::new("checkout.charge").unwrap();
    let written = commands.iter().map(|command| line(&command.clone().into_message(topic.clone(), "shop")));
    crate::kept::check("commands.1.jsonl", COMMANDS, &written.collect::<Vec<_>>());
    for (line, command) in COMMANDS.lines().zip(&commands) {
        assert_eq!(&Command::parse(&message(line)).unwrap(), command, "{line}");
    }
}

#[test]
fn replies_are_written_and_read_as_they_were() {
    let reason = || "no \"stock\" left".into();
    let reply = |action, report| Reply {
        key: key(),
        run: RunId::from_u128(7),
        step: "charge".into(),
        action,
        round: 2,
        report,
        traceparent: None,
    };
    let replies = [
        reply(Action::Execute, Report::Succeeded { output: output() }),
        reply(Action::Execute, Report::Rejected { reason: reason() }),
        reply(Action::Execute, Report::Failed { reason: reason() }),
        reply(Action::Undo, Report::Undone),
        reply(Action::Undo, Report::UndoFailed { reason: reason() }),
        reply(Action::Fence, Report::Fenced { answer: FenceAnswer::NoEffect }),
        reply(Action::Fence, Report::Fenced { answer: FenceAnswer::Done { output: output() } }),
        reply(Action::Fence, Report::Fenced { answer: FenceAnswer::Unknown }),
    ];
    let topic = Topic::new("checkout.replies").unwrap();
    let written = replies.iter().map(|reply| line(&reply.clone().into_message(topic.clone(), "shop")));
    crate::kept::check("replies.1.jsonl", REPLIES, &written.collect::<Vec<_>>());
    for (line, reply) in REPLIES.lines().zip(&replies) {
        assert_eq!(Reply::parse(&message(line)).unwrap().as_ref(), Some(reply), "{line}");
    }
}
