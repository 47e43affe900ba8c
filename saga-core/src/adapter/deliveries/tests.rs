use super::*;
use crate::ports::Settlement;

fn deliveries(in_flight_max: usize, key_order: bool) -> Deliveries<u32> {
    let topic = Topic::new("t").unwrap();
    Deliveries::new(&SubscriptionSpec { topic, group: "g".into(), in_flight_max, key_order })
}

fn arrived(n: u32, key: &str) -> Arrived<u32> {
    let message = Message::new(Topic::new("t").unwrap(), n.to_string().into_bytes()).keyed(key);
    Arrived { message, attempt: 1, handle: n }
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.message.payload).unwrap().parse().unwrap()
}

fn numbers(batch: &[Delivery]) -> Vec<u32> {
    batch.iter().map(number).collect()
}

fn take(deliveries: &Deliveries<u32>, settlement: Settlement) -> Option<Taken<u32>> {
    deliveries.take(settlement.receipt)
}

fn settle(deliveries: &Deliveries<u32>, delivery: Delivery) {
    deliveries.done(take(deliveries, delivery.ack()).unwrap());
}

async fn is_idle(deliveries: &Deliveries<u32>) -> bool {
    tokio::time::timeout(Duration::from_millis(5), deliveries.next(9)).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_out() {
    let deliveries = deliveries(2, false);
    deliveries.arrived((0..5).map(|n| arrived(n, "k")));
    let mut first = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&first), [0, 1]);
    assert!(is_idle(&deliveries).await);
    settle(&deliveries, first.remove(0));
    assert_eq!(numbers(&deliveries.next(9).await.unwrap()), [2], "and dropping gives it back");
    deliveries.set_in_flight_max(9);
    let more = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&more), [3, 4, 2]);
    assert_eq!((more[2].attempt, deliveries.held(), deliveries.in_flight()), (2, 4, 4));
    deliveries.set_in_flight_max(0);
    deliveries.arrived([arrived(9, "k")]);
    assert!(is_idle(&deliveries).await);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_retry_in_place_and_others_do_not() {
    let deliveries = deliveries(9, true);
    deliveries.arrived([arrived(0, "a"), arrived(1, "a"), arrived(2, "b"), arrived(3, "a")]);
    let mut batch = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&batch), [0, 2]);
    let retried = take(&deliveries, batch.remove(0).retry(Duration::from_secs(1))).unwrap();
    deliveries.again(retried, Duration::from_secs(1));
    settle(&deliveries, batch.remove(0));
    let begun = Instant::now();
    let mut again = deliveries.next(9).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((numbers(&again), again[0].attempt), (vec![0], 2));
    settle(&deliveries, again.remove(0));
    for n in [1, 3] {
        let mut next = deliveries.next(9).await.unwrap();
        assert_eq!(numbers(&next), [n]);
        settle(&deliveries, next.remove(0));
    }
    assert_eq!(deliveries.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_stale_and_frees_its_key() {
    let deliveries = deliveries(9, true);
    deliveries.arrived([arrived(0, "a"), arrived(1, "a"), arrived(12, "a")]);
    let mut out = deliveries.next(9).await.unwrap();
    deliveries.revoke(|n| *n < 10);
    assert!(take(&deliveries, out.remove(0).ack()).is_none());
    let mut next = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&next), [12]);
    let taken = take(&deliveries, next.remove(0).ack()).unwrap();
    deliveries.revoke(|_| true);
    assert_eq!(deliveries.held(), 1, "what is being settled is the settler's");
    deliveries.done(taken);
    assert_eq!(deliveries.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_shows_until_it_is_over_and_closing_returns_what_was_not_delivered() {
    let deliveries = deliveries(1, false);
    deliveries.fail(ErrorKind::Retry, "the broker is away");
    assert_eq!(deliveries.next(1).await.unwrap_err().kind(), ErrorKind::Retry);
    deliveries.arrived([arrived(0, "a"), arrived(1, "b")]);
    let mut out = deliveries.next(9).await.unwrap();
    deliveries.recovered();
    let mut seen = Vec::new();
    deliveries.each(|n| seen.push(*n));
    assert_eq!(seen, [1, 0]);
    assert_eq!(deliveries.close(), [1]);
    assert_eq!(deliveries.next(1).await.unwrap_err().kind(), ErrorKind::Stopped);
    settle(&deliveries, out.remove(0));
    deliveries.settled().await;
    deliveries.below(1).await;
}
