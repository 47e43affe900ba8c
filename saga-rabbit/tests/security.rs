//! A listener that demands encryption and credentials. `cargo xtask test security` has it started, and sets the variables.
//!
//! `SAGA_RABBIT_TLS` holds the `host:port` of a listener whose certificate is signed by `ca.pem` of the folder `SAGA_TEST_CERTS`. It lets in the
//! user `SAGA_TEST_USER` with `SAGA_TEST_PASSWORD`, and the user whom a certificate names.
#![cfg(feature = "tls")]

use std::path::PathBuf;

use saga_conformance::security::{is_refused, works};
use saga_core::adapter::Secret;
use saga_rabbit::{RabbitBus, RabbitConfig};

const WRONG: &str = "wrong-secret";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test security`, which starts the servers")
    })
}

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(variable("SAGA_TEST_CERTS")).join(name)
}

/// How to reach the listener if it is to be trusted by this authority.
fn config(authority: &str) -> RabbitConfig {
    let mut config = RabbitConfig::from_url(&format!("amqps://{}", variable("SAGA_RABBIT_TLS"))).unwrap();
    config.ca_file = Some(certificate(authority));
    config
}

fn with_password(authority: &str, password: &str) -> RabbitConfig {
    let mut config = config(authority);
    config.user = Some(variable("SAGA_TEST_USER"));
    config.password = Some(Secret::new(password));
    assert!(!format!("{config:?}").contains(password));
    config
}

fn external(name: &str) -> RabbitConfig {
    let mut config = config("ca.pem");
    config.auth_mechanism = "EXTERNAL".to_owned();
    config.client_cert_file = Some(certificate(&format!("{name}.pem")));
    config.client_key_file = Some(certificate(&format!("{name}.key")));
    config
}

#[tokio::test]
#[ignore = "needs a secured RabbitMQ: cargo xtask test security"]
async fn plain_over_tls_works_and_a_wrong_password_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    works(RabbitBus::with_config(with_password("ca.pem", &password)), &[&password]).await;
    let said = is_refused(RabbitBus::with_config(with_password("ca.pem", WRONG)), &[WRONG]).await;
    assert!(said.contains("password"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured RabbitMQ: cargo xtask test security"]
async fn a_certificate_is_a_user_and_another_authoritys_is_refused() {
    works(RabbitBus::with_config(external("client")), &[]).await;
    let said = is_refused(RabbitBus::with_config(external("wrong-client")), &[]).await;
    assert!(said.contains("client_cert_file"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured RabbitMQ: cargo xtask test security"]
async fn a_certificate_that_names_nobody_is_refused() {
    let said = is_refused(RabbitBus::with_config(external("stranger")), &[]).await;
    assert!(said.contains("credentials"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured RabbitMQ: cargo xtask test security"]
async fn a_server_that_another_authority_vouches_for_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    let said =
        is_refused(RabbitBus::with_config(with_password("wrong-ca.pem", &password)), &[&password]).await;
    assert!(said.contains("ca_file"), "{said}");
}
