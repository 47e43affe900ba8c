//! Listeners that demand encryption and credentials. `cargo xtask test security` has them started, and sets the variables.
//!
//! `SAGA_KAFKA_TLS_SASL` and `SAGA_KAFKA_TLS_MUTUAL` hold the `host:port` of two listeners whose certificate is signed by `ca.pem` of the
//! folder `SAGA_TEST_CERTS`. The first demands the user `SAGA_TEST_USER` with `SAGA_TEST_PASSWORD`, the second a certificate.
#![cfg(feature = "tls")]

use std::path::PathBuf;

use saga_conformance::security::{is_refused, works};
use saga_core::adapter::Secret;
use saga_kafka::{KafkaBus, KafkaConfig};

const WRONG: &str = "wrong-secret";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test security`, which starts the servers")
    })
}

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(variable("SAGA_TEST_CERTS")).join(name)
}

/// How to reach a listener that is to be trusted by this authority.
fn config(server: &str, authority: &str) -> KafkaConfig {
    let mut config = KafkaConfig::from_url(&format!("kafkas://{}", variable(server))).unwrap();
    config.ca_file = Some(certificate(authority));
    config.client.insert("debug".to_owned(), "security,broker,protocol".to_owned());
    config
}

fn with_user(mechanism: &str, password: &str) -> KafkaConfig {
    let mut config = config("SAGA_KAFKA_TLS_SASL", "ca.pem");
    config.sasl_mechanism = mechanism.to_owned();
    config.user = Some(variable("SAGA_TEST_USER"));
    config.password = Some(Secret::new(password));
    assert!(!format!("{config:?}").contains(password));
    config
}

fn with_certificate(name: &str) -> KafkaConfig {
    let mut config = config("SAGA_KAFKA_TLS_MUTUAL", "ca.pem");
    config.client_cert_file = Some(certificate(&format!("{name}.pem")));
    config.client_key_file = Some(certificate(&format!("{name}.key")));
    config
}

async fn proves_the_password(mechanism: &str) {
    let password = variable("SAGA_TEST_PASSWORD");
    works(KafkaBus::with_config(with_user(mechanism, &password)), &[&password]).await;
    let said = is_refused(KafkaBus::with_config(with_user(mechanism, WRONG)), &[WRONG]).await;
    assert!(said.contains("password"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn plain_over_tls_works_and_a_wrong_password_is_refused() {
    proves_the_password("PLAIN").await;
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn scram_sha_256_works_and_a_wrong_password_is_refused() {
    proves_the_password("SCRAM-SHA-256").await;
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn scram_sha_512_works_and_a_wrong_password_is_refused() {
    proves_the_password("SCRAM-SHA-512").await;
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn a_server_that_another_authority_vouches_for_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    let mut config = with_user("PLAIN", &password);
    config.ca_file = Some(certificate("wrong-ca.pem"));
    let said = is_refused(KafkaBus::with_config(config), &[&password]).await;
    assert!(said.contains("ca_file"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn a_certificate_works_and_another_authoritys_is_refused() {
    works(KafkaBus::with_config(with_certificate("client")), &[]).await;
    let said = is_refused(KafkaBus::with_config(with_certificate("wrong-client")), &[]).await;
    assert!(said.contains("client_cert_file"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn a_client_without_the_certificate_that_is_demanded_is_refused() {
    let config = config("SAGA_KAFKA_TLS_MUTUAL", "ca.pem");
    let said = is_refused(KafkaBus::with_config(config), &[]).await;
    assert!(said.contains("client_cert_file"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured Kafka: cargo xtask test security"]
async fn a_client_that_does_not_encrypt_is_told_what_may_be_wrong() {
    let mut config = KafkaConfig::from_url(&format!("kafka://{}", variable("SAGA_KAFKA_TLS_SASL"))).unwrap();
    config.connect_timeout_ms = 1_000;
    let error = KafkaBus::with_config(config).await.unwrap_err().to_string();
    assert!(error.contains("demands encryption") && error.contains("Disconnected"), "{error}");
}
