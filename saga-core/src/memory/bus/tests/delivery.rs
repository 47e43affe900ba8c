use super::*;
use crate::ErrorKind;

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    let sent = [
        message("t", "").keyed("key with spaces.*>ü"),
        Message::new(topic("t"), vec![0, 255]).with_headers([("x", "grüße"), ("x", "")]),
    ];
    publish(&bus, sent.to_vec()).await;
    let received = ready(&subscription, 9).await;
    assert_eq!(received.iter().map(|delivery| &delivery.message).collect::<Vec<_>>(), [&sent[0], &sent[1]]);
    assert!(received.iter().all(|delivery| delivery.attempt == 1));
}

#[tokio::test]
async fn competing_consumers_share_the_work() {
    let (bus, first) = with_subscription(MemoryBus::new()).await;
    let second = bus.subscribe(spec("t", "g")).await.unwrap();
    publish(&bus, messages("t", 5)).await;
    let (a, b) = (ready(&first, 2).await, ready(&second, 9).await);
    assert_eq!(
        (texts(&a), texts(&b)),
        (vec!["0".into(), "1".into()], vec!["2".into(), "3".into(), "4".into()])
    );
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_by_a_publish() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    let waiting = tokio::spawn(async move { texts(&subscription.next(9).await.unwrap()) });
    tokio::task::yield_now().await;
    publish(&bus, messages("t", 2)).await;
    assert_eq!(waiting.await.unwrap(), ["0", "1"]);
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    {
        let mut dropped = subscription.next(9);
        assert!(futures::poll!(&mut dropped).is_pending());
        publish(&bus, messages("t", 1)).await;
    }
    assert_eq!(held(ready(&subscription, 9).await), ["0"]);
}

#[tokio::test]
async fn no_more_are_in_flight_than_asked_for() {
    let bus = with_commands(MemoryBus::new()).await;
    let subscription = bus.subscribe(SubscriptionSpec { in_flight_max: 2, ..spec("t", "g") }).await.unwrap();
    publish(&bus, messages("t", 4)).await;
    let mut first = ready(&subscription, 9).await;
    assert_eq!(texts(&first), ["0", "1"]);
    let mut waiting = subscription.next(9);
    assert!(futures::poll!(&mut waiting).is_pending());
    settle(&subscription, [first.remove(0).ack()]).await;
    assert_eq!(held(waiting.await.unwrap()), ["2"]);
    drop(first);
    assert_eq!(ready(&subscription, 9).await.len(), 1, "a dropped one frees its place too");
}

#[tokio::test]
async fn what_could_never_deliver_is_an_error() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    let error = bus.subscribe(SubscriptionSpec { in_flight_max: 0, ..spec("t", "g") }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(subscription.next(0).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_consumer_that_never_waits_leaves_room_for_others() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    let other = tokio::spawn(async {});
    // Without yielding, this loop would never end: the other task has no thread of its own.
    while !other.is_finished() {
        publish(&bus, messages("t", 1)).await;
        settle(&subscription, subscription.next(9).await.unwrap().into_iter().map(Delivery::ack)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lag_tells_what_waits() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    let start = subscription.lag().await.unwrap().oldest_ready.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    publish(&bus, messages("t", 3)).await;
    let mut taken = ready(&subscription, 2).await;
    let lag = subscription.lag().await.unwrap();
    assert_eq!((lag.ready, lag.in_flight), (2, 2));
    assert_eq!(lag.oldest_ready, Some(start.after(Duration::from_secs(5))));

    settle(&subscription, [taken.remove(0).retry(Duration::from_secs(1))]).await;
    let lag = subscription.lag().await.unwrap();
    assert_eq!((lag.ready, lag.in_flight), (2, 1), "a waiting retry is not ready");
    tokio::time::advance(Duration::from_secs(2)).await;
    let lag = subscription.lag().await.unwrap();
    assert_eq!((lag.ready, lag.oldest_ready), (3, Some(start)));
}

#[tokio::test]
async fn closing_a_subscription_stops_deliveries_only() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    let mut taken = ready(&subscription, 1).await;
    let mut waiting = subscription.next(1);
    assert!(futures::poll!(&mut waiting).is_pending());
    subscription.close().await;
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(subscription.next(1).await.unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(settle_one(&subscription, taken.remove(0).ack()).await, Settled::Settled);
}

#[tokio::test]
async fn closing_the_bus_gives_everything_back() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    let mut taken = ready(&subscription, 1).await;
    bus.close(Duration::ZERO).await.unwrap();
    bus.close(Duration::ZERO).await.unwrap();
    assert_eq!(subscription.next(1).await.unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(bus.subscribe(spec("t", "g")).await.unwrap_err().kind(), ErrorKind::Stopped);
    assert_eq!(bus.declare(&[]).await.unwrap_err().kind(), ErrorKind::Stopped);
    let published = bus.publish(messages("t", 1)).await;
    assert!(matches!(&published[..], [Published::Unknown(error)] if error.kind() == ErrorKind::Stopped));

    let again = bus.connect().subscribe(spec("t", "g")).await.unwrap();
    let redelivered = ready(&again, 9).await;
    assert_eq!((texts(&redelivered), redelivered[0].attempt), (vec!["0".into()], 2));
    assert_eq!(settle_one(&subscription, taken.remove(0).ack()).await, Settled::Stale);
}
