use super::*;
use crate::ErrorKind;

#[tokio::test]
async fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let bus = with_commands(MemoryBus::builder().message_bytes_max(100).build()).await;
    let sized = |bytes| Message::new(topic("t"), vec![0; bytes]).with_id("").keyed("");
    let published = bus.publish(vec![sized(100), sized(101)]).await;
    assert!(
        matches!(&published[..], [Published::Acked, Published::Rejected(error)]
            if error.kind() == ErrorKind::Permanent && error.to_string().contains("101 bytes")),
        "{published:?}"
    );
    assert_eq!(bus.capabilities().message_bytes_max, Some(100));
}

#[tokio::test]
async fn a_publisher_waits_while_a_group_is_full() {
    let bus = MemoryBus::builder().topic_messages_max(2).build();
    let (bus, subscription) = with_subscription(bus).await;
    bus.declare(&[declaration("free", TopicKind::Commands, &[("g", GroupStart::Latest)])]).await.unwrap();
    let free = bus.subscribe(spec("free", "g")).await.unwrap();
    let batch = messages("t", 5).into_iter().chain([message("free", "x")]).collect();
    let mut publishing = bus.publish(batch);
    assert!(futures::poll!(&mut publishing).is_pending());
    assert_eq!(held(ready(&free, 9).await), ["x"], "a full topic does not hold up another");
    let mut received = Vec::new();
    while futures::poll!(&mut publishing).is_pending() {
        received.extend(ready(&subscription, 9).await);
        assert!(received.len() < 5);
    }
    received.extend(ready(&subscription, 9).await);
    assert_eq!(texts(&received), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_waiting_publish_is_woken_and_can_be_dropped() {
    let bus = MemoryBus::builder().topic_messages_max(1).build();
    let (bus, subscription) = with_subscription(bus).await;
    publish(&bus, messages("t", 1)).await;
    {
        let mut dropped = bus.publish(vec![message("t", "dropped")]);
        assert!(futures::poll!(&mut dropped).is_pending());
    }
    let other = bus.clone();
    let waiting = tokio::spawn(async move { other.publish(vec![message("t", "waited")]).await });
    tokio::task::yield_now().await;
    let first = ready(&subscription, 9).await;
    assert!(matches!(waiting.await.unwrap()[..], [Published::Acked]));
    let second = ready(&subscription, 9).await;
    assert_eq!((texts(&first), texts(&second)), (vec!["0".into()], vec!["waited".into()]));
}

#[tokio::test]
async fn waiting_retries_count_and_redeliveries_never_wait() {
    let bus = MemoryBus::builder().topic_messages_max(2).build();
    let (bus, subscription) = with_subscription(bus).await;
    publish(&bus, messages("t", 2)).await;
    let taken = ready(&subscription, 9).await;
    publish(&bus, messages("t", 2)).await;
    settle(&subscription, taken.into_iter().map(|delivery| delivery.retry(Duration::from_secs(1)))).await;
    let _fresh = ready(&subscription, 9).await;
    let mut publishing = bus.publish(messages("t", 1));
    assert!(futures::poll!(&mut publishing).is_pending(), "two wait for their retry");
}

#[tokio::test]
async fn closing_ends_a_waiting_publish() {
    let bus = with_commands(MemoryBus::builder().topic_messages_max(1).build()).await;
    let mut publishing = bus.publish(messages("t", 2));
    assert!(futures::poll!(&mut publishing).is_pending());
    bus.close(Duration::ZERO).await.unwrap();
    let published = publishing.await;
    assert!(
        matches!(&published[..], [Published::Acked, Published::Unknown(error)] if error.kind() == ErrorKind::Stopped),
        "{published:?}"
    );
}

#[tokio::test]
async fn events_that_nobody_reads_are_bounded() {
    let bus = MemoryBus::builder().topic_messages_max(10).retained_messages_max(3).build();
    bus.declare(&[declaration("t", TopicKind::Events, &[])]).await.unwrap();
    publish(&bus, messages("t", 1_000)).await;
    bus.declare(&[declaration("t", TopicKind::Events, &[("late", GroupStart::Earliest)])]).await.unwrap();
    let late = bus.subscribe(spec("t", "late")).await.unwrap();
    assert_eq!(held(ready(&late, 9).await), ["997", "998", "999"]);
}
