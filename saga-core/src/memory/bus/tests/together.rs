use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::random::SplitMix64;

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 4;
const PUBLISHED: usize = 2_000;

/// Takes, drops, retries and acknowledges until the bus is closed, which whoever acknowledges the last message does; every now and then it
/// leaves the group and joins again.
async fn consume(bus: MemoryBus, spec: SubscriptionSpec, seed: u64, left: Arc<AtomicUsize>) -> Vec<String> {
    let mut random = SplitMix64::new(seed);
    let mut done = Vec::new();
    while let Ok(subscription) = bus.subscribe(spec.clone()).await {
        while let Ok(batch) = subscription.next(17).await {
            for delivery in batch {
                match random.below(8) {
                    0 => drop(delivery),
                    1 => {
                        settle(&subscription, [delivery.retry(Duration::from_millis(random.below(3)))]).await
                    }
                    _ => {
                        done.push(text(&delivery));
                        settle(&subscription, [delivery.ack()]).await;
                        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                            bus.close(Duration::ZERO).await.unwrap();
                        }
                    }
                }
            }
            if random.chance(0.02) {
                // Leaves with what it takes here.
                drop(subscription.next(3).await);
                break;
            }
        }
    }
    done
}

/// On several threads, through a topic that is nearly always full: nothing is lost, nothing settled twice, nobody waits for ever.
async fn all_at_once(key_order: bool) {
    let bus = with_commands(MemoryBus::builder().topic_messages_max(50).build()).await;
    let spec = SubscriptionSpec { in_flight_max: 20, key_order, ..spec("t", "g") };
    let left = Arc::new(AtomicUsize::new(PUBLISHERS * PUBLISHED));
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|n| tokio::spawn(consume(bus.clone(), spec.clone(), n as u64, Arc::clone(&left))))
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for first in (0..PUBLISHED).step_by(80) {
                    let batch = (first..first + 80).map(|m| message("t", &format!("{n}/{m}")));
                    publish(&bus, batch.map(|message| message.keyed(n.to_string())).collect()).await;
                }
            })
        })
        .collect();
    let mut done: HashMap<String, usize> = HashMap::new();
    for task in publishers {
        task.await.unwrap();
    }
    for task in consumers {
        task.await.unwrap().into_iter().for_each(|text| *done.entry(text).or_default() += 1);
    }
    assert_eq!(done.len(), PUBLISHERS * PUBLISHED);
    assert!(done.values().all(|&times| times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_threads() {
    let both = async {
        all_at_once(false).await;
        all_at_once(true).await;
    };
    tokio::time::timeout(Duration::from_secs(120), both).await.expect("somebody waits for ever");
}
