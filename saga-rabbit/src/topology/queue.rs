//! Queues, created or checked.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use saga_core::{Error, ErrorKind};

use crate::connect::Link;
use crate::error::{self, PRECONDITION_FAILED, code, said};

const DELIVERY_LIMIT: &str = "x-delivery-limit";
/// Without any, RabbitMQ 4 gives up what was delivered twenty times in vain. Its -1, which is no limit there, makes 3.10 give up what comes
/// back for the first time.
const NO_DELIVERY_LIMIT: i64 = i64::MAX;
const GROUP_SIZE: &str = "x-quorum-initial-group-size";
const BYTES_MAX: &str = "x-max-length-bytes";
const TIME_TO_LIVE: &str = "x-message-ttl";

/// What a queue is to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    arguments: FieldTable,
    /// What may be otherwise in a queue that is there: its own affair, since it loses no message.
    tolerated: Vec<&'static str>,
}

impl Settings {
    /// Of a queue that messages wait in until they are settled.
    pub(crate) fn waiting(link: &Link) -> Self {
        let mut settings = Self::quorum(link).with(
            "x-overflow",
            // A full queue refuses more, so that nothing that waits is lost.
            AMQPValue::LongString("reject-publish".into()),
        );
        if link.config.queue_bytes_max > 0 {
            settings = settings.tolerating(BYTES_MAX, number(link.config.queue_bytes_max));
        }
        settings
    }

    /// Of a queue of dead letters.
    pub(crate) fn dead_letters(link: &Link) -> Self {
        let settings = Self::quorum(link);
        match link.config.dead_letter_retention_ms {
            0 => settings,
            ms => settings.tolerating(TIME_TO_LIVE, number(ms)),
        }
    }

    /// Of a queue whose active consumer is one of them at a time.
    pub(crate) fn one_at_a_time(link: &Link) -> Self {
        Self::quorum(link).with("x-single-active-consumer", AMQPValue::Boolean(true))
    }

    /// Of one that no message goes to.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// Of one that keeps all it was ever given.
    pub(crate) fn stream() -> Self {
        Self::default().with("x-queue-type", AMQPValue::LongString("stream".into()))
    }

    fn quorum(link: &Link) -> Self {
        let mut settings = Self::default()
            .with("x-queue-type", AMQPValue::LongString("quorum".into()))
            .tolerating(DELIVERY_LIMIT, AMQPValue::LongLongInt(NO_DELIVERY_LIMIT));
        if link.config.replication > 0 {
            settings = settings.tolerating(GROUP_SIZE, number(u64::from(link.config.replication)));
        }
        settings
    }

    /// With so many copies, and no other number of them.
    pub(crate) fn replicated(mut self, replication: Option<u16>) -> Self {
        let Some(replication) = replication else { return self };
        self.tolerated.retain(|name| *name != GROUP_SIZE);
        self.with(GROUP_SIZE, number(u64::from(replication)))
    }

    /// Whose messages leave after so long.
    pub(crate) fn living(self, ms: u64) -> Self {
        self.with(TIME_TO_LIVE, number(ms))
    }

    /// Whose messages, when they are given up or have lived, go to this exchange, and are not lost on the way.
    pub(crate) fn dead_to(self, exchange: &str, routing_key: Option<ShortString>) -> Self {
        let is_quorum = self.arguments.contains_key("x-queue-type");
        let mut settings = self.with("x-dead-letter-exchange", AMQPValue::LongString(exchange.into()));
        if is_quorum {
            settings = settings.with("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into()));
        }
        match routing_key {
            Some(key) => {
                settings.with("x-dead-letter-routing-key", AMQPValue::LongString(key.as_str().into()))
            }
            None => settings,
        }
    }

    fn with(mut self, name: &str, value: AMQPValue) -> Self {
        self.arguments.insert(name.into(), value);
        self
    }

    fn tolerating(mut self, name: &'static str, value: AMQPValue) -> Self {
        self.tolerated.push(name);
        self.with(name, value)
    }

    fn without(&mut self, name: &str) {
        let mut arguments = self.arguments.inner().clone();
        arguments.remove(name);
        self.arguments = arguments.into();
    }

    /// Takes over what is otherwise in the queue that is there, as far as that is tolerated; returns whether it is.
    fn adopt(&mut self, difference: &Difference) -> bool {
        let Some(name) = self.tolerated.iter().copied().find(|name| *name == difference.argument) else {
            return false;
        };
        match difference.current {
            Some(current) => *self = std::mem::take(self).with(name, AMQPValue::LongLongInt(current)),
            None => self.without(name),
        }
        true
    }
}

fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Creates a queue, or checks the one that is there.
pub(crate) async fn ensure_queue(
    link: &Link,
    what: &str,
    name: ShortString,
    mut settings: Settings,
) -> Result<(), Error> {
    /// Each argument can differ once.
    const ROUNDS_MAX: usize = 6;
    let mut last = None;
    for _ in 0..ROUNDS_MAX {
        let (queue, arguments) = (name.clone(), settings.arguments.clone());
        let declared = link.ask(what, |channel| async move {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue, options, arguments).await
        });
        let Err(error) = declared.await? else { return Ok(()) };
        let about = said(&error).map(|said| said.get_message().to_string()).unwrap_or_default();
        if let Some(difference) = Difference::of(&about).filter(|difference| settings.adopt(difference)) {
            if difference.argument == DELIVERY_LIMIT {
                tracing::warn!(
                    queue = %name,
                    limit = ?difference.current,
                    "this queue gives up messages that were delivered often in vain; delete it when it is empty, and it is created without such a limit"
                );
            }
        } else {
            return Err(refused(what, &name, error));
        }
        last = Some(error);
    }
    Err(refused(what, &name, last.expect("there was a round")))
}

fn refused(what: &str, name: &ShortString, error: lapin::Error) -> Error {
    let kind = error::kind(&error);
    let message = match kind {
        ErrorKind::Permanent if code(&error) == PRECONDITION_FAILED => {
            format!("{what}: queue {name} is there and differs; delete it or change what is asked for")
        }
        _ => format!("{what}: queue {name} cannot be created"),
    };
    Error::new(kind, message).with_source(error)
}

/// An argument of a queue that is not as it was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    argument: String,
    /// The number that it is; `None` if it is not set.
    current: Option<i64>,
}

impl Difference {
    /// Reads what the server says: `inequivalent arg 'x' for queue 'q' in vhost '/': received … but current is …`. What is set and no number is
    /// nothing that could be tolerated.
    fn of(about: &str) -> Option<Self> {
        let (_, rest) = about.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (_, current) = rest.split_once("but current is ")?;
        let current = match current.strip_prefix("none") {
            Some(_) => None,
            None => {
                let (_, value) = current.split_once("the value '")?;
                Some(value.split_once('\'')?.0.parse().ok()?)
            }
        };
        Some(Self { argument: argument.to_owned(), current })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RabbitMQ 4.0.5 said it.
    const NOT_SET: &str = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value '-1' of type 'signedint' but current is none";

    #[test]
    fn what_differs_is_read_and_only_the_tolerated_is_adopted() {
        let difference = Difference::of(NOT_SET).unwrap();
        assert_eq!(difference, Difference { argument: DELIVERY_LIMIT.to_owned(), current: None });
        let mut settings = Settings::default().tolerating(DELIVERY_LIMIT, AMQPValue::LongInt(-1));
        assert!(settings.adopt(&difference));
        assert!(!settings.arguments.contains_key(DELIVERY_LIMIT));

        let set = NOT_SET.replace("is none", "is the value '20' of type 'signedint'");
        let difference = Difference::of(&set).unwrap();
        assert_eq!(difference.current, Some(20));
        assert!(settings.adopt(&difference));
        assert_eq!(settings.arguments.inner()[DELIVERY_LIMIT], AMQPValue::LongLongInt(20));

        let other = set.replace("x-delivery-limit", "x-message-ttl");
        assert!(!settings.adopt(&Difference::of(&other).unwrap()), "it was not tolerated");
        assert_eq!(Difference::of(&set.replace("20", "classic")), None);
        assert_eq!(Difference::of("NOT_FOUND - no queue"), None);
    }
}
