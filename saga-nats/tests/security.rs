//! Servers that demand encryption and credentials. `cargo xtask test security` has them started, and sets the variables.
//!
//! `SAGA_NATS_TLS_TOKEN`, `SAGA_NATS_TLS_USER` and `SAGA_NATS_TLS_NKEY` hold the `host:port` of three servers whose certificate is signed by
//! `ca.pem` of the folder `SAGA_TEST_CERTS`. They let in whoever has the token `SAGA_TEST_TOKEN`, the user `SAGA_TEST_USER` with
//! `SAGA_TEST_PASSWORD` and a certificate, and the nkey of the seed `SAGA_TEST_NKEY_SEED`.

use std::path::PathBuf;

use saga_conformance::security::{is_refused, works};
use saga_core::adapter::Secret;
use saga_nats::{NatsBus, NatsConfig};

const WRONG: &str = "wrong-secret";
/// A well-formed seed that the server does not know.
const WRONG_SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask test security`, which starts the servers")
    })
}

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(variable("SAGA_TEST_CERTS")).join(name)
}

/// How to reach a server that is to be trusted by this authority.
fn config(server: &str, authority: &str) -> NatsConfig {
    let mut config = NatsConfig::from_url(&format!("tls://{}", variable(server))).unwrap();
    config.ca_file = Some(certificate(authority));
    config
}

fn with_user(authority: &str, password: &str) -> NatsConfig {
    let mut config = config("SAGA_NATS_TLS_USER", authority);
    config.user = Some(variable("SAGA_TEST_USER"));
    config.password = Some(Secret::new(password));
    config.client_cert_file = Some(certificate("client.pem"));
    config.client_key_file = Some(certificate("client.key"));
    assert!(!format!("{config:?}").contains(password));
    config
}

fn with_token(token: &str) -> NatsConfig {
    let mut config = config("SAGA_NATS_TLS_TOKEN", "ca.pem");
    config.token = Some(Secret::new(token));
    assert!(!format!("{config:?}").contains(token));
    config
}

fn with_nkey(seed: &str) -> NatsConfig {
    let mut config = config("SAGA_NATS_TLS_NKEY", "ca.pem");
    config.nkey_seed = Some(Secret::new(seed));
    assert!(!format!("{config:?}").contains(seed));
    config
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test security"]
async fn a_token_over_tls_works_and_a_wrong_one_is_refused() {
    let token = variable("SAGA_TEST_TOKEN");
    works(NatsBus::with_config(with_token(&token)), &[&token]).await;
    let said = is_refused(NatsBus::with_config(with_token(WRONG)), &[WRONG]).await;
    assert!(said.contains("token"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test security"]
async fn a_user_with_a_certificate_works_and_a_wrong_password_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    works(NatsBus::with_config(with_user("ca.pem", &password)), &[&password]).await;
    let said = is_refused(NatsBus::with_config(with_user("ca.pem", WRONG)), &[WRONG]).await;
    assert!(said.contains("password"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test security"]
async fn an_nkey_over_tls_works_and_another_is_refused() {
    let seed = variable("SAGA_TEST_NKEY_SEED");
    works(NatsBus::with_config(with_nkey(&seed)), &[&seed]).await;
    for wrong in [WRONG_SEED, "no-seed-at-all"] {
        let said = is_refused(NatsBus::with_config(with_nkey(wrong)), &[wrong]).await;
        assert!(said.contains("nkey"), "{said}");
    }
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test security"]
async fn a_server_that_another_authority_vouches_for_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    let said = is_refused(NatsBus::with_config(with_user("wrong-ca.pem", &password)), &[&password]).await;
    assert!(said.contains("ca_file"), "{said}");
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test security"]
async fn a_client_without_the_certificate_that_is_demanded_is_refused() {
    let password = variable("SAGA_TEST_PASSWORD");
    let mut config = with_user("ca.pem", &password);
    (config.client_cert_file, config.client_key_file) = (None, None);
    let said = is_refused(NatsBus::with_config(config), &[&password]).await;
    assert!(said.contains("client_cert_file"), "{said}");
}
