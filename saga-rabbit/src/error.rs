//! What the client's errors mean to the ports.

use lapin::ErrorKind as Cause;
use lapin::protocol::AMQPError;
use saga_core::{Error, ErrorKind};

/// AMQP's codes that mean something here.
pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// What the server itself said, if it did.
pub(crate) fn said(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        Cause::ProtocolError(said) => Some(said),
        _ => None,
    }
}

/// The code of what the server said; 0 if it said nothing.
pub(crate) fn code(error: &lapin::Error) -> u16 {
    said(error).map_or(0, AMQPError::get_id)
}

/// What may be done about an error of the client.
pub(crate) fn kind(error: &lapin::Error) -> ErrorKind {
    match code(error) {
        // While a server starts, its parts are not all there.
        _ if said(error).is_some_and(|said| is_passing(said.get_message().as_str())) => ErrorKind::Retry,
        NOT_FOUND => ErrorKind::NotFound,
        ACCESS_REFUSED | PRECONDITION_FAILED | NOT_ALLOWED => ErrorKind::Permanent,
        _ => ErrorKind::Retry,
    }
}

fn is_passing(said: &str) -> bool {
    ["is down", "is stopped", "not available", "noproc", "timeout"].iter().any(|word| said.contains(word))
}

/// An error of the client, with what was to be done.
pub(crate) fn of(error: lapin::Error, what: impl Into<String>) -> Error {
    Error::new(kind(&error), what).with_source(error)
}

/// An error while connecting; what no waiting mends is permanent.
pub(crate) fn of_connect(error: lapin::Error, server: &str) -> Error {
    let (kind, message) = match kind(&error) {
        ErrorKind::Permanent if code(&error) == ACCESS_REFUSED => (
            ErrorKind::Permanent,
            format!("RabbitMQ at {server} refuses these credentials; check user, password or certificate"),
        ),
        ErrorKind::Permanent | ErrorKind::NotFound => (
            ErrorKind::Permanent,
            format!("RabbitMQ at {server} refuses the virtual host; check its name and permissions"),
        ),
        _ if crate::security::is_of_trust(&error) => (
            ErrorKind::Permanent,
            format!(
                "RabbitMQ at {server} cannot be trusted, or demands a certificate; check ca_file and client_cert_file"
            ),
        ),
        _ => return unreachable(server).with_source(error),
    };
    Error::new(kind, message).with_source(error)
}

/// No server answers.
pub(crate) fn unreachable(servers: &str) -> Error {
    let message = format!("RabbitMQ at {servers} cannot be reached; check that it runs and the URL is right");
    Error::new(ErrorKind::Retry, message)
}

pub(crate) fn unanswered(what: &str) -> Error {
    Error::new(ErrorKind::Retry, format!("RabbitMQ did not answer in time about {what}"))
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "this connection to RabbitMQ is closed")
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    fn said(kind: AMQPErrorKind, text: &str) -> lapin::Error {
        Cause::ProtocolError(AMQPError::new(kind, text.into())).into()
    }

    #[test]
    fn what_no_waiting_mends_is_permanent() {
        let refused =
            said(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), "ACCESS_REFUSED - login refused");
        assert_eq!(of_connect(refused, "h:1").kind(), ErrorKind::Permanent);
        let vhost = said(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), "NOT_ALLOWED - vhost x not found");
        assert_eq!(of_connect(vhost, "h:1").kind(), ErrorKind::Permanent);
        let starting =
            said(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), "access refused: vhost 'x' is down");
        assert_eq!(of_connect(starting, "h:1").kind(), ErrorKind::Retry);
        let broken: lapin::Error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
        let error = of_connect(broken, "h:1");
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains("h:1"), "{error}");
    }
}
