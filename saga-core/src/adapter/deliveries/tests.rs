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

/// Settles one while somebody waits for more, and returns what that one gets.
async fn settled_while_waiting(deliveries: &Deliveries<u32>) -> Vec<u32> {
    let mut out = deliveries.next(9).await.unwrap();
    let mut waiting = Box::pin(deliveries.next(9));
    assert!(futures::poll!(&mut waiting).is_pending());
    settle(deliveries, out.remove(0));
    let waited = tokio::time::timeout(Duration::from_millis(5), waiting).await;
    numbers(&waited.expect("it is woken").unwrap())
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_woken_by_a_place_and_by_the_next_of_a_key() {
    let full = deliveries(2, false);
    full.arrived((0..3).map(|n| arrived(n, "k")));
    assert_eq!(settled_while_waiting(&full).await, [2]);
    let ordered = deliveries(9, true);
    ordered.arrived((0..2).map(|n| arrived(n, "k")));
    assert_eq!(settled_while_waiting(&ordered).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_here_counts_once() {
    let deliveries = deliveries(3, true);
    deliveries.arrived_early(arrived(0, "z"), Instant::now() + Duration::from_secs(1));
    let keys = ["a", "a", "a", "b", "c", "d", "e"];
    deliveries.arrived(keys.into_iter().zip(1..).map(|(key, n)| arrived(n, key)));
    let out = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&out), [1, 4, 5], "two wait behind their key, two for room");
    assert_eq!((deliveries.in_flight_max(), deliveries.in_flight(), deliveries.waiting()), (3, 3, 1));
    assert_eq!(deliveries.held(), 8);
    let mut handles = Vec::new();
    deliveries.each(|n| handles.push(*n));
    handles.sort_unstable();
    assert_eq!(handles, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_before_its_time_waits_for_it_and_holds_up_nobody() {
    let deliveries = deliveries(9, true);
    let begun = Instant::now();
    deliveries.arrived_early(arrived(0, "a"), begun + Duration::from_secs(1));
    deliveries.arrived([arrived(1, "a")]);
    let other = deliveries.next(9).await.unwrap();
    assert_eq!((numbers(&other), begun.elapsed()), (vec![1], Duration::ZERO));
    let late = deliveries.next(9).await.unwrap();
    assert_eq!((numbers(&late), deliveries.waiting()), (vec![0], 0));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_falls_due_while_there_is_no_room_is_taken_once_there_is() {
    let deliveries = deliveries(1, false);
    deliveries.arrived([arrived(0, "a"), arrived(1, "b")]);
    let mut first = deliveries.next(9).await.unwrap();
    let retried = take(&deliveries, first.remove(0).retry(Duration::from_millis(1))).unwrap();
    deliveries.again(retried, Duration::from_millis(1));
    let mut second = deliveries.next(9).await.unwrap();
    assert_eq!(numbers(&second), [1]);
    assert!(is_idle(&deliveries).await);
    settle(&deliveries, second.remove(0));
    assert_eq!(numbers(&deliveries.next(9).await.unwrap()), [0]);
}

/// Whether it is still waited for after a while.
async fn waits<F: Future>(waited_for: F) -> bool {
    tokio::time::timeout(Duration::from_secs(60), waited_for).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn who_waits_until_less_is_here_goes_on_when_it_has_left() {
    let deliveries = deliveries(9, false);
    deliveries.arrived((0..3).map(|n| arrived(n, "k")));
    let mut out = deliveries.next(9).await.unwrap();
    assert!(!waits(deliveries.below(4)).await);
    assert!(waits(deliveries.below(3)).await);
    let last = out.pop().unwrap();
    let (waited, ()) = tokio::join!(waits(deliveries.below(3)), async { settle(&deliveries, last) });
    assert!(!waited);
    assert!(waits(deliveries.settled()).await);
    let leaves = async { out.drain(..).for_each(|delivery| settle(&deliveries, delivery)) };
    let (waited, ()) = tokio::join!(waits(deliveries.settled()), leaves);
    assert!(!waited);
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_is_forgotten_and_what_was_delivered_can_be_settled() {
    let deliveries = deliveries(9, true);
    deliveries.arrived([arrived(0, "a"), arrived(1, "a"), arrived(2, "b")]);
    let mut out = deliveries.next(1).await.unwrap();
    assert_eq!(numbers(&out), [0]);
    deliveries.withdraw(|_| true);
    assert_eq!(deliveries.held(), 1);
    settle(&deliveries, out.remove(0));
    assert!(is_idle(&deliveries).await);
    deliveries.arrived([arrived(3, "a"), arrived(4, "b")]);
    assert_eq!(numbers(&deliveries.next(9).await.unwrap()), [3, 4], "their keys are free");
}

#[tokio::test]
async fn to_ask_for_nothing_is_refused() {
    let deliveries = deliveries(1, false);
    deliveries.arrived([arrived(0, "a")]);
    assert_eq!(deliveries.next(0).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn no_message_is_shown_only_whose_they_are() {
    let deliveries = deliveries(1, false);
    deliveries.arrived([arrived(5, "secret")]);
    let shown = format!("{deliveries:?}");
    assert!(shown.contains("\"g\"") && !shown.contains("secret"), "{shown}");
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
    deliveries.recovered();
    assert!(is_idle(&deliveries).await);
    deliveries.fail(ErrorKind::Retry, "the broker is away again");
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
