//! `bench coordinators URL`: one, two and four coordinators on one log in PostgreSQL, with the same load in all.

use std::sync::Arc;
use std::time::Duration;

use saga_core::EventBus;
use saga_core::memory::MemoryBus;
use serde_json::{Value, json};

use crate::durable::{Run, probe, runtime};
use crate::load::{Load, Parts};
use crate::store::{Store, clean, of_this_run};

const COUNTS: [usize; 3] = [1, 2, 4];
const PREFIXES: [&str; 4] = ["a", "b", "c", "d"];
/// Each number of coordinators takes its turn, so often.
const ROUNDS: usize = 5;
const RUN: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
const IN_FLIGHT: usize = 64;

/// Where the sagas of several coordinators are answered.
#[derive(Clone, Copy, Debug)]
enum Replies {
    /// Each coordinator has a topic of its own.
    Own,
    /// All read one topic: a reply comes to any of them, whoever started the saga.
    Shared,
}

pub(crate) fn run(url: &str) {
    runtime().block_on(measure(url));
}

async fn measure(url: &str) {
    let store = Store::server(url).await;
    println!(
        "saga-rs {}; {}; one bus and the inboxes in memory",
        env!("CARGO_PKG_VERSION"),
        store.promise().await
    );
    println!(
        "a saga of 4 parallel steps of 300 B; {IN_FLIGHT} in flight in all, awaited where they were started"
    );
    let probed_before = probe();
    let mut lines = Vec::new();
    for replies in [Replies::Own, Replies::Shared] {
        lines.extend(compare(url, &store, replies).await);
    }
    let probed_after = probe();
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "coordinators", "promise": store.promise().await, "in_flight": IN_FLIGHT,
                "lines": lines, "fdatasync_us": [probed_before.as_micros() as u64, probed_after.as_micros() as u64] })
    );
}

/// The numbers of coordinators in turns, each time on a log of their own.
async fn compare(url: &str, store: &Store, replies: Replies) -> Vec<Value> {
    let mut runs = COUNTS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (count, runs) in COUNTS.iter().zip(&mut runs) {
            runs.push(one(url, store, replies, *count).await);
        }
    }
    let medians = runs.map(|mut runs| {
        runs.sort_by(|a, b| a.0.per_second.total_cmp(&b.0.per_second));
        (runs[0].0.per_second, runs[ROUNDS - 1].0.per_second, runs.swap_remove(ROUNDS / 2))
    });
    let alone = medians[0].2.0.per_second;
    let lines = COUNTS.iter().zip(&medians).map(|(count, (low, high, (run, server_us)))| {
        let Run { per_second, cpu_us, p50, p99, .. } = run;
        let ratio = per_second / alone;
        println!(
            "{replies:?} topic of replies, {count} coordinators: {per_second:>6.0} sagas/s (median of {ROUNDS}; {low:.0} to {high:.0}), {ratio:.2} of \
             one's, p50 {p50:.1?}, p99 {p99:.1?}, {cpu_us:.0} µs CPU a saga in this process, {server_us:.0} µs in the server"
        );
        json!({ "replies": format!("{replies:?}"), "coordinators": count, "sagas_per_second": per_second, "low": low, "high": high,
                "ratio": ratio, "p50_us": p50.as_micros() as u64, "p99_us": p99.as_micros() as u64, "cpu_us": cpu_us,
                "server_cpu_us": server_us })
    });
    lines.collect()
}

async fn one(url: &str, store: &Store, replies: Replies, count: usize) -> (Run, f64) {
    let own = of_this_run(url);
    let bus: Arc<dyn EventBus> = Arc::new(MemoryBus::new());
    let mut loads = Vec::new();
    for prefix in &PREFIXES[..count] {
        let (_, log) = Store::open(&own).await;
        let replies = match replies {
            Replies::Own => Some(format!("bench.replies.{prefix}")),
            Replies::Shared => None,
        };
        loads.push(Load::start(Parts {
            bus: Arc::clone(&bus),
            log,
            prefix: (*prefix).to_owned(),
            replies,
            ..Parts::new(10_000)
        }));
    }
    Run::of(&loads, IN_FLIGHT, WARM_UP).await;
    let server_cpu = store.server_cpu().await;
    let run = Run::of(&loads, IN_FLIGHT, RUN).await;
    let server_us = (store.server_cpu().await - server_cpu).as_secs_f64() * 1e6 / run.count as f64;
    futures::future::join_all(loads.iter().map(|load| load.stop())).await;
    clean(&own).await;
    (run, server_us)
}
