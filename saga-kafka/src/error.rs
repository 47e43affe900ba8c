//! What the client's errors mean to the ports.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use saga_core::{Error, ErrorKind};

/// What may be done about an error of the client.
pub(crate) fn kind(error: &KafkaError) -> ErrorKind {
    error.rdkafka_error_code().map_or(ErrorKind::Permanent, kind_of)
}

pub(crate) fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownGroup => {
            ErrorKind::NotFound
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidTopic | Code::PolicyViolation => {
            ErrorKind::Permanent
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => ErrorKind::Permanent,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::SSL => ErrorKind::Permanent,
        Code::InvalidPartitions | Code::InvalidReplicationFactor | Code::InvalidConfig => {
            ErrorKind::Permanent
        }
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::MessageTimedOut | Code::RequestTimedOut => ErrorKind::Unknown,
        _ => ErrorKind::Retry,
    }
}

/// An error with what it was about.
pub(crate) fn of(error: KafkaError, what: impl Into<String>) -> Error {
    Error::new(kind(&error), what).with_source(error)
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "this connection to Kafka is closed")
}
