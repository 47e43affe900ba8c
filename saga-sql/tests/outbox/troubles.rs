//! Relays that die, and a bus that refuses.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use saga_core::memory::MemoryBus;
use saga_core::ports::{
    Declaration, EventBus, Group, GroupStart, Published, SubscriptionSpec, TopicKind,
};
use saga_core::{Error, ErrorKind};
use saga_sql::RelayOptions;

use super::cases::Running;
use super::stand::{DatabaseOutbox, Stand};
use crate::bus::{RecordingBus, message, topic};

fn impatient(claim_time: Duration) -> RelayOptions {
    let mut options = RelayOptions::default();
    options.poll_interval = Duration::from_millis(20);
    options.claim_time = claim_time;
    options
}

async fn put_in(outbox: &DatabaseOutbox, texts: &[(&str, &str)]) {
    let mut transaction = Stand::begin(outbox).await;
    for (key, text) in texts {
        outbox.publish(&mut transaction, message(key, *text)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// It dies between publishing and marking.
pub(super) async fn after_a_crash_the_same_id_is_published_again(stand: Stand) {
    let bus = RecordingBus::new();
    bus.hangs.store(true, Ordering::SeqCst);
    put_in(&stand.outbox, &[("a", "1"), ("a", "2")]).await;
    let dies = Running::start(stand.again().await.relay(Arc::clone(&bus) as _).with(impatient(Duration::from_secs(2))));
    let once = bus.until(1).await;
    dies.kill().await;
    bus.hangs.store(false, Ordering::SeqCst);
    let died = std::time::Instant::now();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(impatient(Duration::from_secs(2))));
    let all = bus.until(3).await;
    assert_eq!(bus.texts(), ["1", "1", "2"]);
    assert_eq!(all[1].id, once[0].id);
    assert!(died.elapsed() > Duration::from_millis(500), "its claim held for a while");
    relay.stop().await;
}

/// It was paused while publishing, and comes back when another has taken over.
pub(super) async fn a_relay_that_lost_its_claim_settles_nothing(stand: Stand) {
    let slow = RecordingBus::slow(Duration::from_millis(400));
    slow.answers(|_| {
        std::thread::sleep(Duration::from_millis(400));
        Published::Rejected(Error::new(ErrorKind::Permanent, "never"))
    });
    put_in(&stand.outbox, &[("a", "1"), ("a", "2")]).await;
    let paused = Running::start(stand.again().await.relay(Arc::clone(&slow) as _));
    while stand.number("SELECT count(*) FROM saga_outbox WHERE claim IS NOT NULL").await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stand.run("UPDATE saga_outbox SET free_at = 0").await;
    let bus = RecordingBus::new();
    bus.hangs.store(true, Ordering::SeqCst);
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    bus.until(1).await;
    paused.stop().await;
    assert_eq!(stand.outbox.state().await.unwrap().refused, 0, "the claim was another's by then");
    assert_eq!(stand.number("SELECT count(*) FROM saga_outbox WHERE claim IS NOT NULL").await, 2);
    relay.kill().await;
}

pub(super) async fn a_refused_message_holds_only_its_key(stand: Stand) {
    let bus = RecordingBus::new();
    bus.answers(|message| {
        if message.payload.starts_with(b"bad") {
            return Published::Rejected(Error::new(ErrorKind::Permanent, "too large\0"));
        }
        Published::Acked
    });
    let sent = [("a", "a1"), ("a", "bad-a"), ("a", "a3"), ("b", "b1"), ("c", "bad-c"), ("c", "c2"), ("b", "b2")];
    put_in(&stand.outbox, &sent).await;
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    bus.until(3).await;
    let refused = loop {
        let refused = stand.outbox.refused(10).await.unwrap();
        if refused.len() == 2 {
            break refused;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    put_in(&stand.outbox, &[("a", "a4"), ("b", "b3")]).await;
    bus.until(4).await;
    let mut texts = bus.texts();
    texts.sort();
    assert_eq!(texts, ["a1", "b1", "b2", "b3"]);
    let shown = refused.iter().map(|refused| (&*refused.message.payload, refused.behind));
    assert_eq!(shown.collect::<Vec<_>>(), [(&b"bad-a"[..], 1), (&b"bad-c"[..], 1)]);
    assert!(refused[0].reason.contains("too large"), "{}", refused[0].reason);
    // What was published is marked soon after.
    while stand.outbox.state().await.unwrap().waiting > 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = stand.outbox.state().await.unwrap();
    assert_eq!((state.waiting, state.refused), (3, 2));
    // What was wrong has been mended; the one is tried again, the other given up.
    bus.answers(|_| Published::Acked);
    stand.outbox.retry(refused[0].number).await.unwrap();
    stand.outbox.discard(refused[1].number).await.unwrap();
    bus.until(8).await;
    let texts = bus.texts();
    let of = |key: &str| texts.iter().filter(|text| text.contains(key)).cloned().collect::<Vec<_>>();
    // "bad-a" has a b in it.
    assert_eq!(of("a").len(), 4, "{texts:?}");
    assert_eq!(of("a")[1..], ["bad-a", "a3", "a4"]);
    assert_eq!(of("c"), ["c2"]);
    let again = stand.outbox.retry(refused[0].number).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    relay.stop().await;
}

pub(super) async fn a_topic_that_is_not_there_is_waited_for(stand: Stand) {
    let bus = Arc::new(MemoryBus::new());
    put_in(&stand.outbox, &[("a", "1"), ("a", "2")]).await;
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    while stand.number("SELECT max(attempts) FROM saga_outbox").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stand.number("SELECT count(*) FROM saga_outbox WHERE error LIKE '%orders%'").await, 1);
    let group = Group { name: "readers".into(), start: GroupStart::Earliest };
    let declaration = Declaration { topic: topic(), kind: TopicKind::Events, groups: vec![group] };
    bus.declare(&[declaration]).await.unwrap();
    let spec =
        SubscriptionSpec { topic: topic(), group: "readers".into(), in_flight_max: 10, key_order: false };
    let subscription = bus.subscribe(spec).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        let next = tokio::time::timeout(Duration::from_secs(30), subscription.next(10)).await.unwrap();
        for delivery in next.unwrap() {
            got.push(delivery.message.payload.to_vec());
            subscription.settle(vec![delivery.ack()]).await;
        }
    }
    assert_eq!(got, [b"1", b"2"]);
    relay.stop().await;
}

pub(super) async fn a_row_that_cannot_be_read_holds_only_its_key(stand: Stand) {
    put_in(&stand.outbox, &[("a", "1"), ("a", "2"), ("b", "1")]).await;
    stand.run("UPDATE saga_outbox SET headers = 'nonsense' WHERE no = 1").await;
    let bus = RecordingBus::new();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    bus.until(1).await;
    while stand.outbox.state().await.unwrap().refused == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = stand.outbox.refused(10).await.unwrap_err();
    assert!(error.to_string().contains("row 1 of table saga_outbox"), "{error}");
    stand.outbox.discard(1).await.unwrap();
    bus.until(2).await;
    relay.stop().await;
}

/// It stays claimed until the claim has run out, then it is tried anew.
pub(super) async fn a_bus_that_hangs_is_given_up(stand: Stand) {
    let bus = RecordingBus::new();
    bus.hangs.store(true, Ordering::SeqCst);
    put_in(&stand.outbox, &[("a", "1"), ("a", "2")]).await;
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(impatient(Duration::from_millis(800))));
    bus.until(1).await;
    bus.hangs.store(false, Ordering::SeqCst);
    bus.until(3).await;
    assert_eq!(bus.texts(), ["1", "1", "2"]);
    relay.stop().await;
}
