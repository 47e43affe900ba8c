use std::fmt::Debug;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use saga::kafka::KafkaConfig;
use saga::nats::NatsConfig;
use saga::rabbit::RabbitConfig;
use saga::sql::postgres::PostgresConfig;
use saga::sql::sqlite::{SqliteInboxConfig, SqliteLogConfig};
use saga::webhook::Webhook;
use saga::{Error, ErrorKind};
use saga_core::adapter::{BusUrl, Secret};

pub(super) fn run(bytes: &[u8]) {
    let url = &*String::from_utf8_lossy(bytes);
    is_read_or_refused(BusUrl::parse(url, 1));
    is_read_or_refused(KafkaConfig::from_url(url));
    is_read_or_refused(RabbitConfig::from_url(url));
    is_read_or_refused(NatsConfig::from_url(url));
    is_read_or_refused(PostgresConfig::from_url(url));
    is_read_or_refused(SqliteLogConfig::from_url(url));
    is_read_or_refused(SqliteInboxConfig::from_url(url));
    is_read_or_refused(Webhook::post(url));
    is_kept_secret(url);
}

fn is_read_or_refused<T: Debug>(read: Result<T, Error>) {
    match read {
        Ok(config) => assert!(!format!("{config:?}").is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

/// Whatever a password is, it arrives, and is shown nowhere.
fn is_kept_secret(password: &str) {
    // A shorter one, or one of these letters alone, may stand in what is shown for another reason.
    let is_telling = password.len() >= 12 && password.chars().any(|c| !c.is_alphanumeric());
    if !is_telling || password.contains('\0') {
        return;
    }
    let encoded = utf8_percent_encode(password, NON_ALPHANUMERIC);
    let read: [(Option<Secret>, String); 3] = [
        KafkaConfig::from_url(&format!("kafka://me:{encoded}@host"))
            .map(|config| (config.password.clone(), format!("{config:?}"))),
        RabbitConfig::from_url(&format!("amqp://me:{encoded}@host"))
            .map(|config| (config.password.clone(), format!("{config:?}"))),
        NatsConfig::from_url(&format!("nats://me:{encoded}@host"))
            .map(|config| (config.password.clone(), format!("{config:?}"))),
    ]
    .map(|read| read.expect("the URL is right"));
    for (arrived, shown) in read {
        assert_eq!(arrived.as_ref().map(Secret::expose), Some(password));
        assert!(!shown.contains(format!("{password:?}").trim_matches('"')), "{shown}");
    }
    let url = format!("postgres://me:{encoded}@host/db");
    let config = PostgresConfig::from_url(&url).expect("the URL is right");
    assert!(!format!("{config:?}").contains(password), "{config:?}");
}
