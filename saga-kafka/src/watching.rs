//! What the clients say of their connections.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use saga_core::adapter::HealthBoard;

/// What the health calls the connection.
pub(crate) const CONNECTION: &str = "connection";

/// What a client says of its connections.
#[derive(Clone)]
pub(crate) struct Watching {
    health: HealthBoard,
    pub(crate) told: Arc<Mutex<Told>>,
}

/// What the clients' own threads said.
#[derive(Clone, Default)]
pub(crate) struct Told {
    /// The brokers refuse the client, or cannot be trusted, for good.
    pub(crate) refusal: Option<String>,
    /// The latest trouble with a connection.
    pub(crate) last: Option<String>,
}

impl Watching {
    pub(crate) fn new(health: HealthBoard) -> Self {
        Self { health, told: Arc::default() }
    }

    pub(crate) fn seen(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            _ if is_refusal(code, reason) => {
                told.refusal = Some(reason.to_owned());
                self.health.down(CONNECTION, format!("Kafka refuses this client: {reason}"));
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.health.down(CONNECTION, "all brokers are down");
            }
            _ => {
                told.last = Some(reason.to_owned());
                tracing::debug!(%error, reason, "the Kafka client reports an error");
            }
        }
    }

    /// Some of what goes wrong with a connection is only logged, and no error.
    pub(crate) fn logged(&self, level: RDKafkaLogLevel, part: &str, message: &str) {
        if part == "FAIL" {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).last = Some(message.to_owned());
        }
        log(level, part, message);
    }
}

/// Passes on what a client logs. Of a broken connection each of the clients logs for itself, and this library once for all.
pub(crate) fn log(level: RDKafkaLogLevel, part: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
            if !["FAIL", "ERROR"].contains(&part) =>
        {
            tracing::warn!(part, "librdkafka: {message}");
        }
        _ => tracing::debug!(part, "librdkafka: {message}"),
    }
}

/// Whether no waiting mends it, rather than that the connection broke.
fn is_refusal(code: Option<RDKafkaErrorCode>, reason: &str) -> bool {
    /// The alerts of TLS that are about certificates, versions and ciphers. With TLS 1.3 a broker's word on a client's certificate comes
    /// when the handshake is over for the client, whose library then takes it for a broken connection.
    const ALERTS: [u32; 13] = [40, 41, 42, 43, 44, 45, 46, 48, 49, 51, 70, 71, 116];
    match code {
        Some(
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL,
        ) => true,
        Some(RDKafkaErrorCode::BrokerTransportFailure) => {
            let alert = reason.split_once("SSL alert number ").map(|(_, rest)| rest);
            let number =
                alert.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            number.is_some_and(|number| ALERTS.contains(&number))
        }
        _ => false,
    }
}

impl ClientContext for Watching {
    fn error(&self, error: KafkaError, reason: &str) {
        self.seen(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, part: &str, message: &str) {
        self.logged(level, part, message);
    }
}

impl ConsumerContext for Watching {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_told_from_a_broken_connection() {
        let is_refused = |reason| is_refusal(Some(RDKafkaErrorCode::BrokerTransportFailure), reason);
        assert!(is_refused(
            "ssl://h:1/bootstrap: Receive failed: sslv3 alert bad certificate: SSL alert number 42 (after 6ms)"
        ));
        assert!(is_refused("tlsv13 alert certificate required: SSL alert number 116"));
        assert!(!is_refused("tlsv1 alert internal error: SSL alert number 80"));
        assert!(!is_refused("ssl://h:1/bootstrap: Connect to h:1 failed: Connection refused"));
        assert!(is_refusal(Some(RDKafkaErrorCode::SSL), "certificate verify failed"));
    }
}
