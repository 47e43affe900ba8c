//! The entries of a saga's record in words.

use crate::coordinator::describe;
use crate::definition::Definition;
use crate::record::{Action, Fact, FenceAnswer, HeldInput, NamedVerb, PlanItem, Resolution, StepIndex, Verb};

pub(crate) fn in_words(fact: &Fact, definition: &Definition) -> String {
    let name = |step: &StepIndex| definition.step_label(*step);
    match fact {
        Fact::Started { .. } => "started".to_owned(),
        Fact::Dispatched { step, round, .. } => format!("{} dispatched{}", name(step), in_round(*round)),
        Fact::Blocked { step, reason } => format!("{} blocked: {reason}", name(step)),
        Fact::Succeeded { step, .. } => format!("{} succeeded", name(step)),
        Fact::Rejected { step, reason } => format!("{} rejected: {reason}", name(step)),
        Fact::Failed { step, reason, .. } => format!("{} failed: {reason}", name(step)),
        Fact::TimedOut { step } => format!("{} deadline passed", name(step)),
        Fact::Overdue => "saga deadline passed after the point of no return".to_owned(),
        Fact::Failing { cause, .. } => format!("failing: {}", describe(cause, definition)),
        Fact::Unwinding { plan } => format!("unwinding: {}", planned(plan, definition)),
        Fact::LateSuccess { step, .. } => format!("{} succeeded late", name(step)),
        Fact::UndoDispatched { step, action, round } => {
            format!("{} {action} dispatched{}", name(step), in_round(*round))
        }
        Fact::Undone { step } => format!("{} undone", name(step)),
        Fact::UndoFailed { step, round, reason } => {
            format!("{} undo failed{}: {reason}", name(step), in_round(*round))
        }
        Fact::Fenced { step, answer } => format!("{} fenced: {}", name(step), fenced(answer)),
        _ => of_the_saga(fact, definition),
    }
}

fn of_the_saga(fact: &Fact, definition: &Definition) -> String {
    let name = |step: &StepIndex| definition.step_label(*step);
    match fact {
        Fact::WentForward => "going forward after all".to_owned(),
        Fact::Resolving { step, resolution, .. } => {
            format!("{} being resolved as {}", name(step), resolved(resolution))
        }
        Fact::Resolved { step, resolution } => format!("{} resolved as {}", name(step), resolved(resolution)),
        Fact::Parked { reason } => format!("parked: {reason}"),
        Fact::Operated { operation } => {
            let verb = match &operation.verb {
                Verb::Retry { step: None } => "retry".to_owned(),
                Verb::Retry { step: Some(step) } => format!("retry {}", name(step)),
                Verb::Resolve { step, resolution } => {
                    format!("resolve {} as {}", name(step), resolved(resolution))
                }
                Verb::Abandon => "abandon".to_owned(),
            };
            format!("{verb} by {}: {}", operation.who, operation.why)
        }
        Fact::Ended { ending } => ending.to_string(),
        Fact::Announced { announcement } => format!("announced {announcement}"),
        Fact::AnnouncementRefused { announcement, reason } => {
            format!("announcement {announcement} refused: {reason}")
        }
        Fact::CallbackFailed { attempt, reason } => format!("callback attempt {attempt} failed: {reason}"),
        Fact::CallbackAnswered => "callback answered".to_owned(),
        Fact::CallbackRefused { reason } => format!("callback refused: {reason}"),
        Fact::Held { input } => held(input),
        Fact::HeldTaken => "held input taken".to_owned(),
        Fact::OperationRefused { who, reason, .. } => format!("refused to {who}: {reason}"),
        other => format!("{other:?}"),
    }
}

fn held(input: &HeldInput) -> String {
    match input {
        HeldInput::Reply { .. } => "input held for another version".to_owned(),
        HeldInput::Cancel { who, why } => format!("cancel asked for by {who}: {why}"),
        HeldInput::Operate { verb, who, why } => {
            let verb = match verb {
                NamedVerb::Retry { step: None } => "retry".to_owned(),
                NamedVerb::Retry { step: Some(step) } => format!("retry {step}"),
                NamedVerb::Resolve { step, resolution } => {
                    format!("resolve {step} as {}", resolved(resolution))
                }
                NamedVerb::Abandon => "abandon".to_owned(),
            };
            format!("{verb} asked for by {who}: {why}")
        }
    }
}

fn in_round(round: u32) -> String {
    if round > 1 { format!(" (round {round})") } else { String::new() }
}

fn planned(plan: &[PlanItem], definition: &Definition) -> String {
    let items = plan.iter().map(|item| match item.action {
        Action::Fence => format!("fence {}", definition.step_label(item.step)),
        Action::Undo | Action::Execute => definition.step_label(item.step).to_string(),
    });
    let items = items.collect::<Vec<_>>();
    if items.is_empty() { "nothing to undo".to_owned() } else { items.join(", ") }
}

const fn fenced(answer: &FenceAnswer) -> &'static str {
    match answer {
        FenceAnswer::NoEffect => "no effect",
        FenceAnswer::Done { .. } => "done",
        FenceAnswer::Unknown => "unknown",
    }
}

const fn resolved(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Done { .. } => "done",
        Resolution::NoEffect => "without effect",
        Resolution::Undone => "undone",
    }
}
