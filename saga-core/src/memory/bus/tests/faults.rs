use super::*;
use crate::memory::{FaultTopics, Faults};

const SENT: usize = 2_000;

/// Publishes one by one, as senders in real life do, and returns what arrived, in order, and how many answers were unknown.
async fn run(faults: Faults) -> (Vec<usize>, usize) {
    let bus = MemoryBus::builder().faults(faults).build();
    let (bus, subscription) = with_subscription(bus).await;
    let mut unknown = 0;
    for message in messages("t", SENT) {
        unknown += usize::from(matches!(bus.publish(vec![message]).await[0], Published::Unknown(_)));
    }
    let received = drain(&subscription).await;
    (received.iter().map(|text| text.parse().unwrap()).collect(), unknown)
}

fn distinct(received: &[usize]) -> usize {
    received.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_bus_does_nothing_of_the_kind() {
    assert_eq!(run(Faults::seeded(5)).await, ((0..SENT).collect(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_fifth_is_dropped() {
    let (received, unknown) = run(Faults { drop: 0.2, ..Faults::seeded(5) }).await;
    assert_eq!((received.len(), unknown), (distinct(&received), 0));
    assert!((1_500..1_700).contains(&received.len()), "{}", received.len());
}

#[tokio::test(start_paused = true)]
async fn a_fifth_is_delivered_twice() {
    let (received, unknown) = run(Faults { duplicate: 0.2, ..Faults::seeded(5) }).await;
    assert_eq!((distinct(&received), unknown), (SENT, 0));
    assert!((2_300..2_500).contains(&received.len()), "{}", received.len());
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_may_be_there_all_the_same() {
    let (received, unknown) = run(Faults { refuse: 0.2, ..Faults::seeded(5) }).await;
    assert!((300..500).contains(&unknown), "{unknown}");
    let lost = SENT - received.len();
    assert!((unknown / 4..unknown * 3 / 4).contains(&lost), "{lost} of {unknown}");
}

#[tokio::test(start_paused = true)]
async fn reordering_loses_nothing() {
    let (mut received, _) = run(Faults { reorder: 0.2, ..Faults::seeded(5) }).await;
    let moved = received.iter().enumerate().filter(|(at, n)| at != *n).count();
    assert!(moved > 400, "{moved}");
    received.sort_unstable();
    assert_eq!(received, (0..SENT).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_as_long_as_asked_for() {
    let faults = Faults { delay: 1.0, delay_max: Duration::from_millis(50), ..Faults::seeded(5) };
    let (bus, subscription) = with_subscription(MemoryBus::builder().faults(faults).build()).await;
    let start = tokio::time::Instant::now();
    publish(&bus, messages("t", 100)).await;
    assert!(ready(&subscription, 100).await.is_empty());
    let mut received = Vec::new();
    while received.len() < 100 {
        received.extend(subscription.next(100).await.unwrap());
    }
    let elapsed = start.elapsed().as_millis();
    assert!((25..=51).contains(&elapsed), "{elapsed}");
    assert!(!texts(&received).is_sorted_by_key(|text| text.parse::<usize>().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_faults() {
    let all = |seed| Faults {
        drop: 0.1,
        duplicate: 0.1,
        refuse: 0.1,
        reorder: 0.1,
        delay: 0.1,
        ..Faults::seeded(seed)
    };
    let first = run(all(1)).await;
    assert_eq!(run(all(1)).await, first);
    assert_ne!(run(all(2)).await, first);
}

#[tokio::test(start_paused = true)]
async fn topics_can_be_spared_and_the_bus_can_heal() {
    for (topics, suffers) in [
        (FaultTopics::All, true),
        (FaultTopics::Only(vec![topic("t")]), true),
        (FaultTopics::Only(vec![topic("other")]), false),
        (FaultTopics::Except(vec![topic("other")]), true),
        (FaultTopics::Except(vec![topic("t")]), false),
    ] {
        let (bus, subscription) = with_subscription(MemoryBus::new()).await;
        bus.set_faults(Faults { drop: 1.0, topics: topics.clone(), ..Faults::seeded(1) });
        publish(&bus, messages("t", 1)).await;
        assert_eq!(held(ready(&subscription, 9).await).is_empty(), suffers, "{topics:?}");
        bus.set_faults(Faults::none());
        publish(&bus, messages("t", 1)).await;
        assert_eq!(ready(&subscription, 9).await.len(), 1);
    }
}
