//! A topic with no room left.

use std::time::{Duration, Instant};

use saga_core::ports::{BusAdmin, Declaration, EventBus, Published, TopicKind};
use saga_core::record::Topic;
use saga_core::{ErrorKind, Message};
use saga_nats::{NatsBus, NatsConfig};

#[tokio::test]
#[ignore = "needs NATS: cargo xtask test"]
async fn publishing_to_a_full_topic_waits_says_so_and_goes_on() {
    let url = std::env::var("SAGA_NATS_URL")
        .expect("SAGA_NATS_URL is not set: run `cargo xtask test`, which starts a server");
    let mut config = NatsConfig::from_url(&url).unwrap();
    (config.topic_bytes_max, config.request_timeout_ms) = (1_000, 1_000);
    let bus = NatsBus::with_config(config).await.unwrap();
    let any = Message::new(Topic::new("t").unwrap(), "").id;
    let topic = Topic::new(format!("full-{any}")).unwrap();
    let declaration = Declaration { topic: topic.clone(), kind: TopicKind::Commands, groups: vec![] };
    bus.declare(std::slice::from_ref(&declaration)).await.unwrap();
    let message = || vec![Message::new(topic.clone(), vec![b'x'; 600])];
    assert!(matches!(bus.publish(message()).await[..], [Published::Acked]));

    let begun = Instant::now();
    let answers = bus.publish(message()).await;
    let [Published::Unknown(error)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(error.kind(), ErrorKind::Retry);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    assert!(bus.health().to_string().contains(topic.as_str()), "{}", bus.health());

    bus.delete_topic(&topic).await.unwrap();
    bus.declare(&[declaration]).await.unwrap();
    assert!(matches!(bus.publish(message()).await[..], [Published::Acked]));
    assert!(bus.health().is_up(), "{}", bus.health());
    bus.delete_topic(&topic).await.unwrap();
}
