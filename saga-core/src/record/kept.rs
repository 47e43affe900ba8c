//! The entries of a saga's record, as they are stored.

use super::{
    Action, Announcement, Cause, DefinitionRef, Digest, Ending, Entry, Fact, FenceAnswer, HeldInput,
    NamedVerb, Operation, Payload, PlanItem, Report, Resolution, RunId, StepIndex, Timestamp, Verb,
};

const GOLDEN: &str = include_str!("../../golden/entries.1.jsonl");

const STEP: StepIndex = StepIndex(2);
const ROUND: u32 = 1;
const WHO: &str = "ann";
const WHY: &str = "they called";
const REASON: &str = "no \"stock\" left";
const AT: Timestamp = Timestamp::from_millis(1_795_335_330_250);

fn output() -> Payload {
    Payload::from(br#"{"label":"L-1","grams":250}"#.to_vec())
}

/// One of each fact, and of each form it has.
fn facts() -> Vec<Fact> {
    [forward(), unwinding(), operators(), ends(), held()].concat()
}

fn forward() -> Vec<Fact> {
    let definition =
        DefinitionRef { name: "checkout".into(), version: 3, digest: Digest(0x0123_4567_89ab_cdef) };
    let started = |traceparent: Option<&str>| Fact::Started {
        run: RunId::from_u128(7),
        definition: definition.clone(),
        input: output(),
        traceparent: traceparent.map(Into::into),
    };
    vec![
        started(None),
        started(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        Fact::Dispatched { step: STEP, round: ROUND, input: output() },
        // Any bytes may be a payload.
        Fact::Dispatched { step: STEP, round: ROUND, input: Payload::from(vec![0, 159, 146, 150]) },
        Fact::Blocked { step: STEP, reason: REASON.into() },
        Fact::Succeeded { step: STEP, output: output() },
        Fact::Rejected { step: STEP, reason: REASON.into() },
        Fact::Failed { step: STEP, reason: REASON.into(), raw: None },
        Fact::Failed { step: STEP, reason: REASON.into(), raw: Some(output()) },
        Fact::TimedOut { step: STEP },
        Fact::Overdue,
    ]
}

fn unwinding() -> Vec<Fact> {
    let failing = |cause, until| Fact::Failing { cause, until };
    vec![
        failing(Cause::Rejected { step: STEP, reason: REASON.into() }, None),
        failing(Cause::Failed { step: STEP, reason: REASON.into() }, Some(AT)),
        failing(Cause::StepDeadline { step: STEP }, None),
        failing(Cause::SagaDeadline, None),
        failing(Cause::Cancelled { who: WHO.into(), why: WHY.into() }, None),
        Fact::Unwinding {
            plan: vec![
                PlanItem { step: STEP, action: Action::Undo },
                PlanItem { step: StepIndex(0), action: Action::Fence },
            ],
        },
        Fact::LateSuccess { step: STEP, output: output() },
        Fact::UndoDispatched { step: STEP, action: Action::Undo, round: ROUND },
        Fact::Undone { step: STEP },
        Fact::UndoFailed { step: STEP, round: ROUND, reason: REASON.into() },
        Fact::Fenced { step: STEP, answer: FenceAnswer::NoEffect },
        Fact::Fenced { step: STEP, answer: FenceAnswer::Done { output: output() } },
        Fact::Fenced { step: STEP, answer: FenceAnswer::Unknown },
    ]
}

fn operators() -> Vec<Fact> {
    let operated = |verb| Fact::Operated { operation: Operation { verb, who: WHO.into(), why: WHY.into() } };
    vec![
        Fact::WentForward,
        Fact::Resolving { step: STEP, round: ROUND, resolution: Resolution::NoEffect },
        Fact::Resolved { step: STEP, resolution: Resolution::Done { output: output() } },
        Fact::Resolved { step: STEP, resolution: Resolution::Undone },
        Fact::Parked { reason: REASON.into() },
        operated(Verb::Retry { step: None }),
        operated(Verb::Retry { step: Some(STEP) }),
        operated(Verb::Resolve { step: STEP, resolution: Resolution::NoEffect }),
        operated(Verb::Abandon),
    ]
}

fn ends() -> Vec<Fact> {
    vec![
        Fact::Ended { ending: Ending::Completed },
        Fact::Ended { ending: Ending::RolledBack },
        Fact::Ended { ending: Ending::Abandoned },
        Fact::Announced { announcement: Announcement::Unwinding },
        Fact::Announced { announcement: Announcement::Completed },
        Fact::Announced { announcement: Announcement::RolledBack },
        Fact::Announced { announcement: Announcement::Abandoned },
        Fact::CallbackFailed { attempt: 3, reason: REASON.into() },
        Fact::CallbackAnswered,
        Fact::AnnouncementRefused { announcement: Announcement::Completed, reason: REASON.into() },
        Fact::CallbackRefused { reason: REASON.into() },
    ]
}

fn held() -> Vec<Fact> {
    let operate = |verb| Fact::Held { input: HeldInput::Operate { verb, who: WHO.into(), why: WHY.into() } };
    let reply = |action, report| Fact::Held {
        input: HeldInput::Reply { step: "charge".into(), action, round: ROUND, report },
    };
    let resolution = Resolution::Done { output: output() };
    vec![
        reply(Action::Execute, Report::Succeeded { output: output() }),
        reply(Action::Execute, Report::Rejected { reason: REASON.into() }),
        reply(Action::Execute, Report::Failed { reason: REASON.into() }),
        reply(Action::Undo, Report::Undone),
        reply(Action::Undo, Report::UndoFailed { reason: REASON.into() }),
        reply(Action::Fence, Report::Fenced { answer: FenceAnswer::NoEffect }),
        Fact::Held { input: HeldInput::Cancel { who: WHO.into(), why: WHY.into() } },
        operate(NamedVerb::Retry { step: None }),
        operate(NamedVerb::Retry { step: Some("charge".into()) }),
        operate(NamedVerb::Resolve { step: "charge".into(), resolution }),
        operate(NamedVerb::Abandon),
        Fact::HeldTaken,
        Fact::OperationRefused { who: WHO.into(), why: WHY.into(), reason: REASON.into() },
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
    let entries: Vec<_> = facts().into_iter().map(|fact| Entry { at: AT, fact }).collect();
    let written: Vec<_> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    crate::kept::check("entries.1.jsonl", GOLDEN, &written);
    for (line, entry) in GOLDEN.lines().zip(&entries) {
        assert_eq!(&serde_json::from_str::<Entry>(line).unwrap(), entry, "{line}");
    }
}
