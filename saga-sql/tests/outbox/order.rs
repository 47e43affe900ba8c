//! Order per key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use saga_core::ports::Published;
use saga_core::{Error, ErrorKind, Message};
use saga_sql::RelayOptions;
use saga_sql::sqlx::{AssertSqlSafe, raw_sql};

use super::cases::Running;
use super::stand::Stand;
use crate::bus::{RecordingBus, message};

/// Otherwise the one that draws the lower number could commit later, and its message be overtaken.
pub(super) async fn writers_of_one_key_wait_for_each_other(stand: Stand) {
    let bus = RecordingBus::new();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    let mut first = Stand::begin(&stand.outbox).await;
    stand.outbox.publish(&mut first, message("a", "first")).await.unwrap();
    let other = stand.again().await;
    let second = tokio::spawn(async move {
        let mut second = Stand::begin(&other).await;
        other.publish(&mut second, message("a", "second")).await.unwrap();
        second.commit().await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "it was put in while another transaction was putting one in");
    first.commit().await.unwrap();
    second.await.unwrap();
    bus.until(2).await;
    assert_eq!(bus.texts(), ["first", "second"]);
    relay.stop().await;
}

const KEYS: usize = 6;
const PER_WRITER: usize = 15;

/// Several writers a key, several relays, and a bus that takes its time.
pub(super) async fn two_relays_keep_the_order_of_every_key(stand: Stand) {
    let bus = RecordingBus::slow(Duration::from_millis(5));
    let mut options = RelayOptions::default();
    options.poll_interval = Duration::from_millis(10);
    (options.lanes_max, options.per_lane_max) = (2, 3);
    let elsewhere = stand.again().await;
    let relays = [
        Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(options.clone())),
        Running::start(elsewhere.relay(Arc::clone(&bus) as _).with(options)),
    ];
    let mut writers = Vec::new();
    for writer in 0..KEYS * 2 {
        let outbox = stand.again().await;
        writers.push(tokio::spawn(async move {
            let key = format!("key-{}", writer % KEYS);
            for n in 0..PER_WRITER {
                let mut transaction = Stand::begin(&outbox).await;
                let sent = message(&key, format!("{writer}-{n}"));
                outbox.publish(&mut transaction, sent).await.unwrap();
                // Whoever is next waits for this one, and so comes after it.
                let place = format!("(SELECT coalesce(max(number), 0) + 1 FROM ledger WHERE key = '{key}')");
                let insert = format!("INSERT INTO ledger VALUES ('{writer}-{n}', '{key}', {place})");
                raw_sql(AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
                transaction.commit().await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all = bus.until(KEYS * 2 * PER_WRITER).await;
    for relay in relays {
        relay.stop().await;
    }
    assert_eq!(bus.acked().len(), all.len(), "nothing failed, so nothing came twice");
    for (key, texts) in by_key(&all) {
        for (place, text) in texts.iter().enumerate() {
            let find = format!("SELECT number FROM ledger WHERE id = '{text}'");
            assert_eq!(stand.number(&find).await, place as i64 + 1, "{key}: {texts:?}");
        }
    }
}

pub(super) fn by_key(messages: &[Message]) -> BTreeMap<String, Vec<String>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for message in messages {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        keys.entry(message.key.as_deref().unwrap().to_owned()).or_default().push(text);
    }
    keys
}

/// Keys that always have something to say, and one at the end of the alphabet.
pub(super) async fn no_key_is_left_behind_by_others(stand: Stand) {
    let bus = RecordingBus::new();
    let busy: Vec<_> = (0..8).flat_map(|n| (0..40).map(move |_| message(&format!("busy-{n}"), ""))).collect();
    let mut transaction = Stand::begin(&stand.outbox).await;
    stand.outbox.publish_all(&mut transaction, busy).await.unwrap();
    stand.outbox.publish(&mut transaction, message("zzz", "last")).await.unwrap();
    transaction.commit().await.unwrap();
    let mut options = RelayOptions::default();
    (options.lanes_max, options.per_lane_max) = (2, 1);
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(options));
    bus.until(8 * 40 + 1).await;
    relay.stop().await;
    let place = bus.texts().iter().position(|text| text == "last").unwrap();
    assert!(place < 16, "it came at place {place}");
}

/// The bus fails a message twice; what comes after it waits.
pub(super) async fn what_failed_comes_before_what_follows_it(stand: Stand) {
    let bus = RecordingBus::new();
    let failures = AtomicU32::new(0);
    bus.answers(move |message| {
        if &*message.payload == b"2" && failures.fetch_add(1, Ordering::SeqCst) < 2 {
            return Published::Unknown(Error::new(ErrorKind::Retry, "not now"));
        }
        Published::Acked
    });
    let mut transaction = Stand::begin(&stand.outbox).await;
    let messages = ["1", "2", "3", "4"].map(|text| message("a", text));
    stand.outbox.publish_all(&mut transaction, messages.to_vec()).await.unwrap();
    transaction.commit().await.unwrap();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    bus.until(4).await;
    assert_eq!(bus.texts(), ["1", "2", "3", "4"]);
    relay.stop().await;
}
