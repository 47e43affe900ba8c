//! The entries of a saga's record, as they are stored.

use super::{
    Action, Announcement, Cause, DefinitionRef, Digest, Ending, Entry, Fact, FenceAnswer, HeldInput,
    NamedVerb, Operation, Payload, PlanItem, Report, Resolution, RunId, StepIndex, Timestamp, Verb,
};

const GOLDEN: &str = include_str!("../../golden/entries.1.jsonl");

/// One of each fact, and of each form it has.
fn facts() -> Vec<Fact> {
    let (step, round) = (StepIndex(2), 1);
    let (who, why, reason) = || -> (std::sync::Arc<str>, std::sync::Arc<str>, std::sync::Arc<str>) {
        ("ann".into(), "they called".into(), "no \"stock\" left".into())
    }();
    let output = || Payload::from(br#"{"label":"L-1","grams":250}"#.to_vec());
    let operated =
        |verb| Fact::Operated { operation: Operation { verb, who: who.clone(), why: why.clone() } };
    let operate =
        |verb| Fact::Held { input: HeldInput::Operate { verb, who: who.clone(), why: why.clone() } };
    let failing = |cause, until| Fact::Failing { cause, until };
    let reply = |action, report| Fact::Held {
        input: HeldInput::Reply { step: "charge".into(), action, round, report },
    };
    let definition =
        DefinitionRef { name: "checkout".into(), version: 3, digest: Digest(0x0123_4567_89ab_cdef) };
    let started = |traceparent: Option<&str>| Fact::Started {
        run: RunId::from_u128(7),
        definition: definition.clone(),
        input: output(),
        traceparent: traceparent.map(Into::into),
    };
    let at = Timestamp::from_millis(1_795_335_330_250);
    vec![
        started(None),
        started(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        Fact::Dispatched { step, round, input: output() },
        // Any bytes may be a payload.
        Fact::Dispatched { step, round, input: Payload::from(vec![0, 159, 146, 150]) },
        Fact::Blocked { step, reason: reason.clone() },
        Fact::Succeeded { step, output: output() },
        Fact::Rejected { step, reason: reason.clone() },
        Fact::Failed { step, reason: reason.clone(), raw: None },
        Fact::Failed { step, reason: reason.clone(), raw: Some(output()) },
        Fact::TimedOut { step },
        Fact::Overdue,
        failing(Cause::Rejected { step, reason: reason.clone() }, None),
        failing(Cause::Failed { step, reason: reason.clone() }, Some(at)),
        failing(Cause::StepDeadline { step }, None),
        failing(Cause::SagaDeadline, None),
        failing(Cause::Cancelled { who: who.clone(), why: why.clone() }, None),
        Fact::Unwinding {
            plan: vec![
                PlanItem { step, action: Action::Undo },
                PlanItem { step: StepIndex(0), action: Action::Fence },
            ],
        },
        Fact::LateSuccess { step, output: output() },
        Fact::UndoDispatched { step, action: Action::Undo, round },
        Fact::Undone { step },
        Fact::UndoFailed { step, round, reason: reason.clone() },
        Fact::Fenced { step, answer: FenceAnswer::NoEffect },
        Fact::Fenced { step, answer: FenceAnswer::Done { output: output() } },
        Fact::Fenced { step, answer: FenceAnswer::Unknown },
        Fact::WentForward,
        Fact::Resolving { step, round, resolution: Resolution::NoEffect },
        Fact::Resolved { step, resolution: Resolution::Done { output: output() } },
        Fact::Resolved { step, resolution: Resolution::Undone },
        Fact::Parked { reason: reason.clone() },
        operated(Verb::Retry { step: None }),
        operated(Verb::Retry { step: Some(step) }),
        operated(Verb::Resolve { step, resolution: Resolution::NoEffect }),
        operated(Verb::Abandon),
        Fact::Ended { ending: Ending::Completed },
        Fact::Ended { ending: Ending::RolledBack },
        Fact::Ended { ending: Ending::Abandoned },
        Fact::Announced { announcement: Announcement::Unwinding },
        Fact::Announced { announcement: Announcement::Completed },
        Fact::Announced { announcement: Announcement::RolledBack },
        Fact::Announced { announcement: Announcement::Abandoned },
        Fact::CallbackFailed { attempt: 3, reason: reason.clone() },
        Fact::CallbackAnswered,
        Fact::AnnouncementRefused { announcement: Announcement::Completed, reason: reason.clone() },
        Fact::CallbackRefused { reason: reason.clone() },
        reply(Action::Execute, Report::Succeeded { output: output() }),
        reply(Action::Execute, Report::Rejected { reason: reason.clone() }),
        reply(Action::Execute, Report::Failed { reason: reason.clone() }),
        reply(Action::Undo, Report::Undone),
        reply(Action::Undo, Report::UndoFailed { reason: reason.clone() }),
        reply(Action::Fence, Report::Fenced { answer: FenceAnswer::NoEffect }),
        Fact::Held { input: HeldInput::Cancel { who: who.clone(), why: why.clone() } },
        operate(NamedVerb::Retry { step: None }),
        operate(NamedVerb::Retry { step: Some("charge".into()) }),
        operate(NamedVerb::Resolve {
            step: "charge".into(),
            resolution: Resolution::Done { output: output() },
        }),
        operate(NamedVerb::Abandon),
        Fact::HeldTaken,
        Fact::OperationRefused { who, why, reason },
    ]
}

/// A new fact does not compile here: it belongs into [`facts`], and its line at the end of the golden file.
const fn number(fact: &Fact) -> usize {
    match fact {
        Fact::Started { .. } => 0,
        Fact::Dispatched { .. } => 1,
        Fact::Blocked { .. } => 2,
        Fact::Succeeded { .. } => 3,
        Fact::Rejected { .. } => 4,
        Fact::Failed { .. } => 5,
        Fact::TimedOut { .. } => 6,
        Fact::Overdue => 7,
        Fact::Failing { .. } => 8,
        Fact::Unwinding { .. } => 9,
        Fact::LateSuccess { .. } => 10,
        Fact::UndoDispatched { .. } => 11,
        Fact::Undone { .. } => 12,
        Fact::UndoFailed { .. } => 13,
        Fact::Fenced { .. } => 14,
        Fact::WentForward => 15,
        Fact::Resolving { .. } => 16,
        Fact::Resolved { .. } => 17,
        Fact::Parked { .. } => 18,
        Fact::Operated { .. } => 19,
        Fact::Ended { .. } => 20,
        Fact::Announced { .. } => 21,
        Fact::CallbackFailed { .. } => 22,
        Fact::CallbackAnswered => 23,
        Fact::AnnouncementRefused { .. } => 24,
        Fact::CallbackRefused { .. } => 25,
        Fact::Held { .. } => 26,
        Fact::HeldTaken => 27,
        Fact::OperationRefused { .. } => 28,
    }
}

const FACTS: usize = 29;

#[test]
fn every_fact_is_kept() {
    let mut kept: Vec<_> = facts().iter().map(number).collect();
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, (0..FACTS).collect::<Vec<_>>());
}

#[test]
fn entries_are_written_and_read_as_they_were() {
    let at = Timestamp::from_millis(1_795_335_330_250);
    let entries: Vec<_> = facts().into_iter().map(|fact| Entry { at, fact }).collect();
    let written: Vec<_> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    crate::kept::check("entries.1.jsonl", GOLDEN, &written);
    for (line, entry) in GOLDEN.lines().zip(&entries) {
        assert_eq!(&serde_json::from_str::<Entry>(line).unwrap(), entry, "{line}");
    }
}
