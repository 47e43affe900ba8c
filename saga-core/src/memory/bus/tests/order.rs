use super::*;

fn ordered() -> SubscriptionSpec {
    SubscriptionSpec { key_order: true, ..spec("t", "g") }
}

fn keyed(text: &str) -> Message {
    message("t", text).keyed(&text[..1])
}

async fn two_members(bus: MemoryBus) -> (MemoryBus, Arc<dyn Subscription>, Arc<dyn Subscription>) {
    let bus = with_commands(bus).await;
    let first = bus.subscribe(ordered()).await.unwrap();
    let second = bus.subscribe(ordered()).await.unwrap();
    (bus, first, second)
}

#[tokio::test]
async fn a_key_waits_for_its_unsettled_message_and_others_do_not() {
    let (bus, first, second) = two_members(MemoryBus::new()).await;
    publish(&bus, ["a1", "a2", "b1", "a3", "b2"].map(keyed).into()).await;
    publish(&bus, vec![message("t", "x"), message("t", "y")]).await;
    let mut of_first = ready(&first, 1).await;
    assert_eq!(texts(&of_first), ["a1"]);
    let mut of_second = ready(&second, 9).await;
    assert_eq!(texts(&of_second), ["b1", "x", "y"], "keyless messages have no order to keep");
    assert!(ready(&first, 9).await.is_empty());
    assert_eq!(first.lag().await.unwrap().ready, 3);

    let mut waiting = second.next(9);
    assert!(futures::poll!(&mut waiting).is_pending());
    settle(&first, [of_first.remove(0).ack()]).await;
    assert_eq!(held(waiting.await.unwrap()), ["a2"], "another member's settling wakes this one");
    settle(&second, [of_second.remove(0).dead_letter("broken")]).await;
    assert_eq!(held(ready(&first, 9).await), ["b2"], "a dead letter frees its key");
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_retry() {
    let (bus, first, second) = two_members(MemoryBus::new()).await;
    publish(&bus, ["a1", "a2", "b1"].map(keyed).into()).await;
    let mut taken = ready(&first, 1).await;
    settle(&first, [taken.remove(0).retry(Duration::from_secs(10))]).await;
    assert_eq!(held(ready(&second, 9).await), ["b1"]);
    let mut again = second.next(9).await.unwrap();
    assert_eq!(texts(&again), ["a1"]);
    settle(&second, [again.remove(0).ack()]).await;
    assert_eq!(held(ready(&second, 9).await), ["a2"]);
}

#[tokio::test]
async fn a_member_that_leaves_does_not_break_the_order() {
    let (bus, first, second) = two_members(MemoryBus::new()).await;
    publish(&bus, ["a1", "a2", "b1", "b2"].map(keyed).into()).await;
    let taken = ready(&first, 9).await;
    assert_eq!(texts(&taken), ["a1", "b1"]);
    drop(first);
    let again = ready(&second, 9).await;
    assert_eq!(texts(&again), ["a1", "b1"]);
    settle(&second, again.into_iter().map(Delivery::ack)).await;
    drop(taken);
    assert_eq!(held(ready(&second, 9).await), ["a2", "b2"]);
}

#[tokio::test]
async fn order_can_be_asked_for_late() {
    let (bus, unordered) = with_subscription(MemoryBus::new()).await;
    publish(&bus, ["a1", "a2", "a3", "b1", "b2"].map(keyed).into()).await;
    let mut taken = ready(&unordered, 2).await;
    let second = bus.subscribe(ordered()).await.unwrap();
    assert_eq!(held(ready(&second, 9).await), ["b1"]);
    settle(&unordered, [taken.remove(1).ack()]).await;
    assert!(ready(&second, 9).await.is_empty(), "a1 is still out");
    settle(&unordered, [taken.remove(0).ack()]).await;
    assert_eq!(held(ready(&second, 9).await), ["a3"]);
}

/// Two members take, retry, drop and acknowledge in turns, with delays and reordering by the bus: each key stays in order.
#[tokio::test(start_paused = true)]
async fn the_first_deliveries_of_each_key_are_in_order_whatever_happens() {
    let faults = crate::memory::Faults { reorder: 0.5, delay: 0.3, ..crate::memory::Faults::seeded(3) };
    let bus = MemoryBus::builder().faults(faults).build();
    let (bus, first, second) = two_members(bus).await;
    let batch = (0..800_usize).map(|n| message("t", &n.to_string()).keyed((n % 16).to_string())).collect();
    publish(&bus, batch).await;
    let mut seen: Vec<Vec<usize>> = vec![Vec::new(); 16];
    let mut random = crate::random::SplitMix64::new(1);
    for turn in 0_usize.. {
        let member = [&first, &second][turn % 2];
        let Ok(batch) = tokio::time::timeout(Duration::from_secs(60), member.next(7)).await else { break };
        for delivery in batch.unwrap() {
            let n: usize = text(&delivery).parse().unwrap();
            if delivery.attempt == 1 {
                seen[n % 16].push(n);
            }
            match random.below(4) {
                0 => drop(delivery),
                1 => settle(member, [delivery.retry(Duration::from_millis(5))]).await,
                _ => settle(member, [delivery.ack()]).await,
            }
        }
    }
    for (key, seen) in seen.into_iter().enumerate() {
        assert_eq!(seen, (0..50).map(|n| n * 16 + key).collect::<Vec<_>>());
    }
}
