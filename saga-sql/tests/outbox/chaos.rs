//! Writers that commit or not, relays that die, a bus that fails: afterwards what was committed is what was published, in the order of each key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use saga_core::record::RunId;
use saga_core::ports::Published;
use saga_core::{Error, ErrorKind};
use saga_sql::RelayOptions;
use saga_sql::sqlx::{AssertSqlSafe, raw_sql};

use super::cases::Running;
use super::order::by_key;
use super::stand::Stand;
use crate::bus::{RecordingBus, message, some_time};

const WRITERS: usize = 4;
const EACH: usize = 60;

fn one_in(n: u128) -> bool {
    RunId::random().as_u128().is_multiple_of(n)
}

pub(super) async fn whatever_dies_nothing_is_lost_or_invented(stand: Stand) {
    let bus = RecordingBus::slow(Duration::from_millis(4));
    bus.answers(|_| {
        if one_in(10) {
            return Published::Unknown(Error::new(ErrorKind::Unknown, "perhaps"));
        }
        Published::Acked
    });
    let mut options = RelayOptions::default();
    options.poll_interval = Duration::from_millis(10);
    options.claim_time = Duration::from_millis(400);
    options.retry_delay_first = Duration::from_millis(5);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let outbox = stand.again().await;
        writers.push(tokio::spawn(async move {
            for n in 0..EACH {
                // Each writer has a key of its own, so that what it does is in its order.
                let (key, text) = (format!("key-{writer}"), format!("{n:03}"));
                let mut transaction = Stand::begin(&outbox).await;
                outbox.publish(&mut transaction, message(&key, text.clone())).await.unwrap();
                let insert = format!("INSERT INTO ledger VALUES ('{text}', '{key}', {n})");
                raw_sql(AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
                if one_in(4) {
                    transaction.rollback().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                }
            }
        }));
    }
    let mut deaths = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) || deaths < 5 {
        let outboxes = [stand.again().await, stand.again().await];
        let relays = outboxes.map(|outbox| Running::start(outbox.relay(Arc::clone(&bus) as _).with(options.clone())));
        tokio::time::sleep(some_time(Duration::from_millis(100))).await;
        for relay in relays {
            relay.kill().await;
        }
        deaths += 2;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    bus.answers(|_| Published::Acked);
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(options));
    let emptied = tokio::time::timeout(Duration::from_secs(60), async {
        while stand.outbox.state().await.unwrap().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    emptied.await.expect("all that waits is published in the end");
    relay.stop().await;
    let keys = by_key(&bus.acked());
    let published: usize = keys.values().map(|texts| texts.iter().collect::<BTreeSet<_>>().len()).sum();
    assert_eq!(published as i64, stand.number("SELECT count(*) FROM ledger").await);
    for (key, texts) in keys {
        let mut firsts = Vec::<&String>::new();
        for text in &texts {
            let find = format!("SELECT count(*) FROM ledger WHERE key = '{key}' AND id = '{text}'");
            assert_eq!(stand.number(&find).await, 1, "{key}: {text} was not committed");
            if !firsts.contains(&text) {
                firsts.push(text);
            }
        }
        assert!(firsts.is_sorted(), "{key}: {firsts:?}");
    }
}
