//! `saga retry`, `resolve`, `cancel`, `abandon`

use saga::operator::Answer;
use saga::record::SagaKey;
use saga::{Payload, Resolution, Status};
use serde_json::json;

use crate::cli::{Change, Place, ResolutionArg, Resolve, Retry};
use crate::fail::{FAILED, Failure, NOT_ALLOWED, NOT_TAKEN, WRONG};
use crate::out::line;

pub(crate) async fn retry(place: &Place, wanted: Retry) -> Result<(), Failure> {
    let Change { key, audit } = wanted.change;
    let (who, why) = audit.who_and_why()?;
    let operator = place.operator().await?.waiting(audit.wait());
    let answer = operator.retry(&key.0, wanted.step.as_deref(), &who, &why).await?;
    say(place, &key.0, "retry", answer)
}

pub(crate) async fn resolve(place: &Place, wanted: Resolve) -> Result<(), Failure> {
    let resolution = resolution(wanted.resolution, wanted.output.as_deref())?;
    let Change { key, audit } = wanted.change;
    let (who, why) = audit.who_and_why()?;
    let operator = place.operator().await?.waiting(audit.wait());
    let answer = operator.resolve(&key.0, &wanted.step, resolution, &who, &why).await?;
    say(place, &key.0, "resolve", answer)
}

pub(crate) async fn cancel(place: &Place, Change { key, audit }: Change) -> Result<(), Failure> {
    let (who, why) = audit.who_and_why()?;
    let operator = place.operator().await?.waiting(audit.wait());
    let answer = operator.cancel(&key.0, &who, &why).await?;
    say(place, &key.0, "cancel", answer)?;
    match answer {
        Answer::Taken(status @ (Status::Completed | Status::Abandoned)) => {
            let message = format!("it was too late: saga {} is {status}", key.0);
            Err(Failure::new(NOT_ALLOWED, message))
        }
        // Running: it waits for steps in flight, or is past the point of no return.
        _ => Ok(()),
    }
}

pub(crate) async fn abandon(place: &Place, Change { key, audit }: Change) -> Result<(), Failure> {
    let (who, why) = audit.who_and_why()?;
    let operator = place.operator().await?.waiting(audit.wait());
    let answer = operator.abandon(&key.0, &who, &why).await?;
    say(place, &key.0, "abandon", answer)
}

fn resolution(wanted: ResolutionArg, output: Option<&str>) -> Result<Resolution, Failure> {
    match (wanted, output) {
        (ResolutionArg::Done, Some(output)) => {
            serde_json::from_str::<serde_json::Value>(output)
                .map_err(|error| Failure::new(WRONG, format!("--output is no JSON: {error}")))?;
            Ok(Resolution::Done { output: Payload::from(output.as_bytes().to_vec()) })
        }
        (ResolutionArg::Done, None) => Err(Failure::new(WRONG, "--as done needs --output JSON")),
        (_, Some(_)) => Err(Failure::new(WRONG, "--output goes with --as done")),
        (ResolutionArg::NoEffect, None) => Ok(Resolution::NoEffect),
        (ResolutionArg::Undone, None) => Ok(Resolution::Undone),
    }
}

/// Says what became of it.
pub(crate) fn say(place: &Place, key: &SagaKey, verb: &str, answer: Answer) -> Result<(), Failure> {
    let (status, is_taken) = match answer {
        Answer::Taken(status) => (Some(status), true),
        Answer::Noted => (None, false),
        other => return Err(Failure::new(FAILED, format!("an answer that is not known here: {other:?}"))),
    };
    if place.json {
        line(json!({ "saga": key.saga, "id": key.id, "verb": verb, "taken": is_taken, "status": status }))?;
    } else if let Some(status) = status {
        line(format_args!("{verb} {key}: taken; the saga is {status}"))?;
    }
    if is_taken {
        return Ok(());
    }
    let message = format!(
        "{verb} {key} is recorded, but no coordinator has taken it yet: does one run that has the saga's definition?"
    );
    Err(Failure::new(NOT_TAKEN, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_done_has_an_output_and_that_is_json() {
        let done = resolution(ResolutionArg::Done, Some("{\"n\":1}")).unwrap();
        assert_eq!(done, Resolution::Done { output: Payload::from("{\"n\":1}") });
        assert_eq!(resolution(ResolutionArg::Undone, None).unwrap(), Resolution::Undone);
        for (wanted, output) in [
            (ResolutionArg::Done, None),
            (ResolutionArg::Done, Some("{")),
            (ResolutionArg::NoEffect, Some("1")),
        ] {
            assert_eq!(resolution(wanted, output).unwrap_err().code, WRONG);
        }
    }
}
