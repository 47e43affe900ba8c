//! What the client's errors mean to the ports.

use std::error::Error as StdError;
use std::io;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::{ConnectError, ConnectErrorKind};
use saga_core::{Error, ErrorKind};

/// An error of the connection; what no waiting mends is permanent.
pub(crate) fn of_connect(error: ConnectError, servers: &str) -> Error {
    let (kind, message) = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => (
            ErrorKind::Permanent,
            format!("NATS at {servers} refuses these credentials; check user, password, token or nkey"),
        ),
        ConnectErrorKind::ServerParse => {
            (ErrorKind::Invalid, format!("{servers} is no address of a NATS server"))
        }
        ConnectErrorKind::Tls | ConnectErrorKind::Io if is_of_trust(&error) => (
            ErrorKind::Permanent,
            format!(
                "NATS at {servers} cannot be trusted, or demands a certificate; check ca_file and client_cert_file"
            ),
        ),
        _ => return unreachable(servers).with_source(error),
    };
    Error::new(kind, message).with_source(error)
}

/// Whether one side does not trust the other or wants another encryption, rather than that the connection broke.
fn is_of_trust(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(found) = cause {
        // What an error of input and output wraps is not among its sources.
        let wrapped = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if found.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| wrapped.is::<rustls::Error>()) {
            return true;
        }
        cause = found.source();
    }
    false
}

/// No server answers.
pub(crate) fn unreachable(servers: &str) -> Error {
    let message = format!("NATS at {servers} cannot be reached; check that it runs and the URL is right");
    Error::new(ErrorKind::Retry, message)
}

/// An error while reading what a stream is.
pub(crate) fn of_stream(error: GetStreamError, topic: &str) -> Error {
    let (kind, message) = match error.kind() {
        GetStreamErrorKind::JetStream(ref said) if said.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            return Error::new(
                ErrorKind::NotFound,
                format!("topic {topic} is not there: declare it before using it"),
            );
        }
        GetStreamErrorKind::JetStream(ref said) => {
            (of_code(said.code()), format!("NATS says of topic {topic}"))
        }
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
            (ErrorKind::Invalid, format!("topic {topic} cannot be on NATS"))
        }
        GetStreamErrorKind::Request => (ErrorKind::Retry, format!("NATS did not answer about topic {topic}")),
    };
    Error::new(kind, message).with_source(error)
}

/// What may be done about a failed creation or change of a stream.
pub(crate) fn kind_of_create(kind: &CreateStreamErrorKind) -> ErrorKind {
    match kind {
        CreateStreamErrorKind::JetStream(said) => of_code(said.code()),
        CreateStreamErrorKind::TimedOut
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::JetStreamUnavailable => ErrorKind::Retry,
        _ => ErrorKind::Permanent,
    }
}

/// An error about a group's consumer.
pub(crate) fn of_consumer(error: ConsumerError, topic: &str, group: &str) -> Error {
    let (kind, message) = match error.kind() {
        ConsumerErrorKind::JetStream(ref said) if said.error_code() == ErrorCode::CONSUMER_NOT_FOUND => {
            let message =
                format!("group {group} of topic {topic} is not there: declare it before subscribing");
            return Error::new(ErrorKind::NotFound, message);
        }
        ConsumerErrorKind::JetStream(ref said) if said.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            return Error::new(
                ErrorKind::NotFound,
                format!("topic {topic} is not there: declare it before using it"),
            );
        }
        ConsumerErrorKind::JetStream(ref said) => {
            (of_code(said.code()), format!("NATS says of group {group} of topic {topic}"))
        }
        ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => {
            (ErrorKind::Retry, format!("NATS did not answer about group {group} of topic {topic}"))
        }
        _ => (ErrorKind::Permanent, format!("group {group} of topic {topic} cannot be used")),
    };
    Error::new(kind, message).with_source(error)
}

/// JetStream's codes are HTTP's: 5xx is the server's trouble.
pub(crate) const fn of_code(code: usize) -> ErrorKind {
    if code >= 500 { ErrorKind::Retry } else { ErrorKind::Permanent }
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "this connection to NATS is closed")
}
