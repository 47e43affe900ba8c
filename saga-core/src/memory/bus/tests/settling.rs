use super::*;
use crate::record::Timestamp;
use crate::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_never_comes_again() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 3)).await;
    // Out of order, and the last one not at all.
    let mut taken = ready(&subscription, 9).await;
    settle(&subscription, [taken.remove(1).ack(), taken.remove(0).ack()]).await;
    drop((subscription, taken));
    let again = bus.subscribe(spec("t", "g")).await.unwrap();
    assert_eq!(drain(&again).await, ["2"]);
}

#[tokio::test]
async fn what_is_dropped_comes_again_at_once() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    let mut taken = ready(&subscription, 9).await;
    let mut waiting = subscription.next(9);
    assert!(futures::poll!(&mut waiting).is_pending());
    taken[0].message.headers = taken[0].message.headers.with([("edited", "by the handler")]);
    drop(taken);
    let mut again = waiting.await.unwrap();
    assert_eq!((text(&again[0]), again[0].attempt), ("0".into(), 2));
    assert_eq!(again[0].message.headers.get("edited"), None);
    drop(again.remove(0).ack());
    assert_eq!(ready(&subscription, 9).await[0].attempt, 3, "a settlement that was dropped settles nothing");
}

#[tokio::test]
async fn a_settle_that_is_never_polled_settles_nothing() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    let taken = ready(&subscription, 9).await;
    drop(subscription.settle(taken.into_iter().map(Delivery::ack).collect()));
    assert_eq!(ready(&subscription, 9).await.len(), 1);
}

#[tokio::test]
async fn a_dropped_subscription_gives_back_what_it_had() {
    let (bus, first) = with_subscription(MemoryBus::new()).await;
    let second = bus.subscribe(spec("t", "g")).await.unwrap();
    publish(&bus, messages("t", 2)).await;
    let mut taken = ready(&first, 9).await;
    assert_eq!(taken.len(), 2);
    let mut waiting = second.next(9);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(first);
    assert_eq!(held(waiting.await.unwrap()), ["0", "1"]);
    drop(taken.remove(0));
    assert!(ready(&second, 9).await.is_empty(), "an old receipt gives nothing back");
    assert_eq!(settle_one(&second, taken.remove(0).ack()).await, Settled::Stale);
    assert_eq!(second.lag().await.unwrap().in_flight, 2);
}

#[tokio::test]
async fn a_receipt_of_another_group_settles_nothing() {
    let bus = MemoryBus::new();
    let groups = [("a", GroupStart::Latest), ("b", GroupStart::Latest)];
    bus.declare(&[declaration("t", TopicKind::Events, &groups)]).await.unwrap();
    publish(&bus, messages("t", 1)).await;
    let a = bus.subscribe(spec("t", "a")).await.unwrap();
    let b = bus.subscribe(spec("t", "b")).await.unwrap();
    let (mut of_a, _of_b) = (ready(&a, 9).await, ready(&b, 9).await);
    assert_eq!(settle_one(&b, of_a.remove(0).ack()).await, Settled::Stale);
    assert_eq!(b.lag().await.unwrap().in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_neither_early_nor_late_and_holds_up_nobody() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 2)).await;
    let mut taken = ready(&subscription, 1).await;
    let start = tokio::time::Instant::now();
    settle(&subscription, [taken.remove(0).retry(Duration::from_secs(3_600))]).await;
    assert_eq!(held(ready(&subscription, 9).await), ["1"]);

    let again = subscription.next(9).await.unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_secs(3_600), "{elapsed:?}");
    assert!(elapsed <= Duration::from_secs(3_600) + Duration::from_millis(5), "{elapsed:?}");
    assert_eq!((text(&again[0]), again[0].attempt), ("0".into(), 2));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_early_between_two_milliseconds() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 1)).await;
    tokio::time::advance(Duration::from_micros(900)).await;
    let mut taken = ready(&subscription, 1).await;
    settle(&subscription, [taken.remove(0).retry(Duration::from_millis(10))]).await;
    // Ten whole milliseconds on the clock by now, but only 9.2 since.
    tokio::time::advance(Duration::from_micros(9_200)).await;
    assert!(ready(&subscription, 1).await.is_empty());
    tokio::time::advance(Duration::from_millis(2)).await;
    assert_eq!(ready(&subscription, 1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sooner_retry_wakes_a_consumer_that_waits_for_a_later_one() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 2)).await;
    let mut taken = ready(&subscription, 9).await;
    settle(&subscription, [taken.remove(0).retry(Duration::from_secs(100))]).await;
    let mut waiting = subscription.next(9);
    assert!(futures::poll!(&mut waiting).is_pending());
    let start = tokio::time::Instant::now();
    settle(&subscription, [taken.remove(0).retry(Duration::from_secs(1))]).await;
    assert_eq!(held(waiting.await.unwrap()), ["1"]);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_message_that_fails_for_ever_holds_up_nobody() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    publish(&bus, messages("t", 10)).await;
    let mut done = Vec::new();
    for _ in 0..20 {
        for delivery in ready(&subscription, 1).await {
            if text(&delivery) == "0" {
                drop(delivery);
            } else {
                done.push(text(&delivery));
                settle(&subscription, [delivery.ack()]).await;
            }
        }
    }
    assert_eq!(done, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_its_evidence_and_can_be_redriven() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    let sent = message("t", "0").keyed("k").with_headers([("x", "1")]);
    publish(&bus, vec![sent.clone()]).await;
    drop(ready(&subscription, 9).await);
    for round in 1..=2 {
        let mut taken = ready(&subscription, 9).await;
        settle(&subscription, [taken.remove(0).dead_letter(format!("broken {round}"))]).await;
        let dead = bus.dead_letters_of(&topic("t"));
        assert_eq!(dead.len(), 1);
        let reason = format!("broken {round}");
        assert_eq!((&dead[0].reason, &*dead[0].group, dead[0].attempts), (&reason, "g", 3 - round));
        assert!(dead[0].at > Timestamp::default());
        let about = [("x", "1"), (DEAD_REASON, &reason), (DEAD_TOPIC, "t"), (DEAD_GROUP, "g")];
        assert_eq!(dead[0].message.headers.iter().collect::<Vec<_>>(), about);
        assert!(ready(&subscription, 9).await.is_empty());
        assert!(bus.dead_letters_of(&topic("other")).is_empty());

        assert_eq!(bus.redrive(&topic("t"), "g", 9).await.unwrap().sent, 1);
        assert!(bus.dead_letters_of(&topic("t")).is_empty());
    }
    let redriven = ready(&subscription, 9).await;
    assert_eq!((&redriven[0].message, redriven[0].attempt), (&sent, 1));
    assert!(bus.redrive(&topic("missing"), "g", 9).await.is_err());
}

#[tokio::test]
async fn a_redrive_is_for_the_group_that_gave_up() {
    let bus = MemoryBus::new();
    let groups = [("a", GroupStart::Latest), ("b", GroupStart::Latest)];
    bus.declare(&[declaration("t", TopicKind::Events, &groups)]).await.unwrap();
    publish(&bus, messages("t", 1)).await;
    let a = bus.subscribe(spec("t", "a")).await.unwrap();
    settle(&a, [ready(&a, 9).await.remove(0).dead_letter("broken")]).await;
    bus.redrive(&topic("t"), "a", 9).await.unwrap();
    let b = bus.subscribe(spec("t", "b")).await.unwrap();
    assert_eq!((ready(&a, 9).await.len(), ready(&b, 9).await.len()), (1, 1));
}

#[tokio::test]
async fn dead_letters_are_bounded() {
    let bus = MemoryBus::builder().dead_letters_max(2).build();
    let (bus, subscription) = with_subscription(bus).await;
    publish(&bus, messages("t", 3)).await;
    let taken = ready(&subscription, 9).await;
    settle(&subscription, taken.into_iter().map(|delivery| delivery.dead_letter("broken"))).await;
    let ids: Vec<String> =
        bus.dead_letters_of(&topic("t")).iter().map(|dead| dead.message.id.to_string()).collect();
    assert_eq!(ids, ["1", "2"]);
}
