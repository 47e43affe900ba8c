use std::sync::Arc;
use std::time::Duration;

use super::headers::HeadersMut;
use super::{Malformed, Message, attributes, text};
use crate::record::{Action, MessageId, Payload, Retry, RunId, SagaId, SagaKey, Timestamp, Topic};

/// The longest output, in bytes, that an undo command carries. A longer one stays with the participant's barrier row; should that
/// row be lost, the step is undone with `output: None`.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What a coordinator asks of a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The saga.
    pub key: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// The step's name.
    pub step: Arc<str>,
    /// What is asked.
    pub action: Action,
    /// The round, from 1.
    pub round: u32,
    /// When the step was dispatched, by the saga log's clock.
    pub dispatched_at: Timestamp,
    /// What the coordinator knows of the step; for `execute`, always [`Known::Unknown`].
    pub known: Known,
    /// How to retry, where the saga's definition says so.
    pub retry: Option<Retry>,
    /// Where the reply goes.
    pub reply_to: Topic,
    /// The W3C trace context.
    pub traceparent: Option<Arc<str>>,
    /// The step's input.
    pub input: Payload,
}

/// What a coordinator knows of a step that it wants undone or fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// No verdict has reached it.
    Unknown,
    /// The step succeeded; the output, unless it is too long to carry.
    Succeeded(Option<Payload>),
    /// The step failed, perhaps with an effect.
    Failed,
}

impl Known {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Succeeded(_) => "succeeded",
            Self::Failed => "failed",
        }
    }
}

impl Command {
    /// The CloudEvents type of commands.
    pub const TYPE: &'static str = "saga.command";

    /// The message id: `run/step/action/round`.
    pub fn message_id(&self) -> MessageId {
        let (run, round) = (&mut [0; 32], &mut [0; 10]);
        let parts = [self.run.text(run), &self.step, self.action.as_str(), text::decimal(self.round, round)];
        MessageId::new(text::joined(&[parts[0], "/", parts[1], "/", parts[2], "/", parts[3]]))
    }

    /// The message that carries it on `topic`; `source` is the CloudEvents source.
    pub fn into_message(self, topic: Topic, source: &str) -> Message {
        let id = self.message_id();
        let mut headers = HeadersMut::new();
        headers.put(attributes::SPECVERSION, "1.0");
        headers.put(attributes::TYPE, Self::TYPE);
        headers.put(attributes::SOURCE, source);
        headers.put(attributes::SUBJECT, self.key.id.as_str());
        headers.put(attributes::CONTENT_TYPE, "application/json");
        headers.put(attributes::TIME, self.dispatched_at.text(&mut [0; 24]));
        headers.put(attributes::SAGA, &self.key.saga);
        headers.put(attributes::RUN, self.run.text(&mut [0; 32]));
        headers.put(attributes::STEP, &self.step);
        headers.put(attributes::ACTION, self.action.as_str());
        headers.put(attributes::ROUND, text::decimal(self.round, &mut [0; 10]));
        headers.put(attributes::REPLY_TO, self.reply_to.as_str());
        if self.action != Action::Execute {
            headers.put(attributes::VERDICT, self.known.as_str());
        }
        if let Known::Succeeded(Some(output)) = &self.known
            && let Ok(output) = std::str::from_utf8(output)
            && output.len() <= OUTPUT_BYTES_MAX
        {
            headers.put(attributes::OUTPUT, output);
        }
        if let Some(retry) = self.retry {
            headers.put(attributes::RETRY, &write_retry(&retry));
        }
        if let Some(traceparent) = &self.traceparent {
            headers.put(attributes::TRACEPARENT, traceparent);
        }
        Message { topic, id, key: Some(self.key.id.shared()), headers: headers.freeze(), payload: self.input }
    }

    /// Reads a command from a message.
    ///
    /// # Errors
    /// [`Malformed`] names the attribute that is missing or wrong.
    pub fn parse(message: &Message) -> Result<Self, Malformed> {
        let raw = super::reply::Raw::read(message);
        let action = raw.action()?;
        let known = match raw.verdict {
            _ if action == Action::Execute => Known::Unknown,
            None | Some("unknown") => Known::Unknown,
            Some("succeeded") => {
                Known::Succeeded(raw.output.map(|output| Payload::from(output.as_bytes().to_vec())))
            }
            Some("failed") => Known::Failed,
            Some(other) => return Err(Malformed::new(message, format!("verdict {other:?} is not known"))),
        };
        let reply_to = raw.required("replyto", raw.reply_to)?;
        Ok(Self {
            key: raw.key()?,
            run: raw.run()?,
            step: text::shared(raw.required("step", raw.step)?),
            action,
            round: raw.round()?,
            dispatched_at: raw.time()?,
            known,
            retry: raw.retry.map(|text| read_retry(message, text)).transpose()?,
            reply_to: Topic::new(text::shared(reply_to))
                .map_err(|e| Malformed::new(message, e.to_string()))?,
            traceparent: raw.traceparent.map(Into::into),
            input: message.payload.clone(),
        })
    }
}

/// `attempts,first_ms,max_ms`, with `-` for attempts without end.
fn write_retry(retry: &Retry) -> String {
    let attempts = retry.attempts_max.map_or_else(|| "-".to_owned(), |max| max.to_string());
    format!("{attempts},{},{}", retry.delay_first.as_millis(), retry.delay_max.as_millis())
}

fn read_retry(message: &Message, text: &str) -> Result<Retry, Malformed> {
    let malformed = || Malformed::new(message, format!("retry {text:?} is not attempts,first_ms,max_ms"));
    let mut parts = text.split(',');
    let mut next = || parts.next().ok_or_else(malformed);
    let (attempts, first, max) = (next()?, next()?, next()?);
    let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
    let attempts_max = match attempts {
        "-" => None,
        count => Some(count.parse::<u32>().map_err(|_| malformed())?),
    };
    Ok(Retry {
        attempts_max,
        delay_first: Duration::from_millis(number(first)?),
        delay_max: Duration::from_millis(number(max)?),
    })
}

pub(super) fn saga_key(
    saga: &str,
    id: &str,
    shared: Option<&Arc<str>>,
) -> Result<SagaKey, crate::record::InvalidName> {
    // The message's key is the saga id in every message of ours: share its text instead of copying it.
    let id = match shared {
        Some(key) if **key == *id => SagaId::new(Arc::clone(key))?,
        _ => SagaId::new(id)?,
    };
    Ok(SagaKey { saga: text::shared(saga), id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
            run: RunId::from_u128(7),
            step: "payment-validation".into(),
            action: Action::Undo,
            round: 2,
            dispatched_at: Timestamp::from_millis(1_795_335_330_250),
            known: Known::Succeeded(Some(Payload::from("{\"charge\":1}"))),
            retry: Some(Retry::FOREVER),
            reply_to: Topic::new("checkout.replies").unwrap(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            input: Payload::from("{\"order_id\":\"12345\"}"),
        }
    }

    #[test]
    fn a_command_reads_back_from_its_message() {
        let topic = Topic::new("payment-validation").unwrap();
        let message = command().into_message(topic, "/saga/checkout");
        assert_eq!(message.id.as_str(), format!("{}/payment-validation/undo/2", RunId::from_u128(7)));
        assert_eq!(message.key.as_deref(), Some("12345"));
        assert_eq!(Command::parse(&message), Ok(command()));
    }

    #[test]
    fn nothing_is_known_of_a_step_that_is_to_be_executed() {
        let topic = Topic::new("payment-validation").unwrap();
        let mut message = command().into_message(topic, "/saga/checkout");
        message.headers = message.headers.with([(attributes::ACTION, "execute")]);
        assert_eq!(Command::parse(&message).unwrap().known, Known::Unknown);
    }

    #[test]
    fn a_missing_attribute_is_named() {
        let topic = Topic::new("payment-validation").unwrap();
        let mut message = command().into_message(topic, "/saga/checkout");
        message.headers = message.headers.without(&[attributes::RUN]);
        let error = Command::parse(&message).unwrap_err().to_string();
        assert!(error.contains("attribute run is missing"), "{error}");
    }
}
