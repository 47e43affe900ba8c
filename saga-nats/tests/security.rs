//! Servers that demand encryption and credentials. `cargo xtask test` has them started.
//!
//! `SAGA_NATS_TLS_TOKEN`, `SAGA_NATS_TLS_USER` and `SAGA_NATS_TLS_NKEY` hold the `host:port` of three servers whose certificate is signed by
//! `ca.pem` of the folder `SAGA_TEST_CERTS`. The second one demands a certificate of its clients, too.

use saga_core::ErrorKind;
use saga_core::adapter::Secret;
use saga_core::ports::{
    Declaration, Delivery, EventBus, Group, GroupStart, Published, SubscriptionSpec, TopicKind,
};
use saga_core::record::Topic;
use saga_core::{Error, Message};
use saga_nats::{NatsBus, NatsConfig};

const TOKEN: &str = "saga-token";
const USER: &str = "saga";
const PASSWORD: &str = "saga-password";
/// The seed of the user's nkey in the documentation of NATS; its public half is
/// `UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4`.
const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
/// A well-formed seed that the server does not know.
const WRONG_SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`, which starts the servers"))
}

/// How to reach a server that is to be trusted by this authority.
fn config(server: &str, authority: &str) -> NatsConfig {
    let certificates = variable("SAGA_TEST_CERTS");
    NatsConfig::from_url(&format!("tls://{}?ca_file={certificates}/{authority}", variable(server))).unwrap()
}

fn with_user(authority: &str, password: &str) -> NatsConfig {
    let certificates = std::path::PathBuf::from(variable("SAGA_TEST_CERTS"));
    let mut config = config("SAGA_NATS_TLS_USER", authority);
    config.user = Some(USER.to_owned());
    config.password = Some(Secret::new(password));
    config.client_cert_file = Some(certificates.join("client.pem"));
    config.client_key_file = Some(certificates.join("client.key"));
    config
}

fn with_token(token: &str) -> NatsConfig {
    let mut config = config("SAGA_NATS_TLS_TOKEN", "ca.pem");
    config.token = Some(Secret::new(token));
    config
}

fn with_nkey(seed: &str) -> NatsConfig {
    let mut config = config("SAGA_NATS_TLS_NKEY", "ca.pem");
    config.nkey_seed = Some(Secret::new(seed));
    config
}

/// A message goes there and back.
async fn works(config: NatsConfig) {
    let bus = NatsBus::with_config(config).await.unwrap();
    let topic = Topic::new(format!("security-{}", Message::new(Topic::new("t").unwrap(), "").id)).unwrap();
    let group = Group { name: "readers".into(), start: GroupStart::Earliest };
    let declaration =
        Declaration { topic: topic.clone(), kind: TopicKind::Commands, groups: vec![group.clone()] };
    bus.declare(&[declaration]).await.unwrap();
    let answers = bus.publish(vec![Message::new(topic.clone(), "hello")]).await;
    assert!(matches!(answers[..], [Published::Acked]), "{answers:?}");
    let spec =
        SubscriptionSpec { topic: topic.clone(), group: group.name, in_flight_max: 1, key_order: false };
    let subscription = bus.subscribe(spec).await.unwrap();
    let deliveries = subscription.next(1).await.unwrap();
    assert_eq!(&deliveries[0].message.payload[..], b"hello");
    subscription.settle(deliveries.into_iter().map(Delivery::ack).collect()).await;
    saga_core::ports::BusAdmin::delete_topic(&bus, &topic).await.unwrap();
}

/// It is refused at once, for good, and without telling the secret.
async fn is_refused(config: NatsConfig, secret: &str) {
    let begun = std::time::Instant::now();
    assert!(!format!("{config:?}").contains(secret));
    let error: Error = NatsBus::with_config(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    assert!(begun.elapsed().as_secs() < 5, "it took {:?}", begun.elapsed());
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(secret), "{shown}");
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test"]
async fn a_token_over_tls_works_and_a_wrong_one_is_refused() {
    works(with_token(TOKEN)).await;
    is_refused(with_token("wrong-secret"), "wrong-secret").await;
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test"]
async fn a_user_with_a_certificate_works_and_a_wrong_password_is_refused() {
    works(with_user("ca.pem", PASSWORD)).await;
    is_refused(with_user("ca.pem", "wrong-secret"), "wrong-secret").await;
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test"]
async fn an_nkey_over_tls_works_and_another_is_refused() {
    works(with_nkey(NKEY_SEED)).await;
    is_refused(with_nkey(WRONG_SEED), WRONG_SEED).await;
    is_refused(with_nkey("no-seed-at-all"), "no-seed-at-all").await;
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test"]
async fn a_server_that_another_authority_vouches_for_is_refused() {
    is_refused(with_user("wrong-ca.pem", PASSWORD), PASSWORD).await;
}

#[tokio::test]
#[ignore = "needs a secured NATS: cargo xtask test"]
async fn a_client_without_the_certificate_that_is_demanded_is_refused() {
    let mut config = with_user("ca.pem", PASSWORD);
    (config.client_cert_file, config.client_key_file) = (None, None);
    is_refused(config, PASSWORD).await;
}
