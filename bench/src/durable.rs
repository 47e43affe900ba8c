//! `bench log URL`: the saga log in a database, every append durable before anything follows from it; bus and inbox in memory.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::load::{Load, Parts};
use crate::process::cpu_time;
use crate::store::{Store, clean, of_this_run, refuse_used};

const RUNS: usize = 5;
const RUN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(2);
const IN_FLIGHT: usize = 64;

pub(crate) fn run(url: &str) {
    runtime().block_on(measure(url));
}

/// As every benchmark of a durable log has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn measure(url: &str) {
    let scheme = url.split(':').next().unwrap_or_default();
    let own = of_this_run(url);
    refuse_used(&own);
    let (store, log) = Store::open(&own).await;
    println!("saga-rs {}; {}; bus and inbox in memory", env!("CARGO_PKG_VERSION"), store.promise().await);
    let probed_before = probe();
    let syncs_before = store.syncs().await;
    let load = Load::start(Parts { log, ..Parts::new(10_000) });
    load.drive(IN_FLIGHT, Instant::now() + WARM_UP).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let server_cpu = store.server_cpu().await;
        let run = Run::of(std::slice::from_ref(&load), IN_FLIGHT, RUN).await;
        let server_us = (store.server_cpu().await - server_cpu).as_secs_f64() * 1e6 / run.count as f64;
        runs.push((run, server_us));
    }
    let syncs = (store.syncs().await - syncs_before) as f64 / load.finished() as f64;
    let probed_after = probe();
    runs.sort_by(|a, b| a.0.per_second.total_cmp(&b.0.per_second));
    let (low, high) = (runs[0].0.per_second, runs[RUNS - 1].0.per_second);
    let (Run { per_second, cpu_us, p50, p99, .. }, server_us) = &runs[RUNS / 2];
    println!(
        "a saga of 4 parallel steps of 300 B; {IN_FLIGHT} in flight: {per_second:.0} sagas/s (median of {RUNS}; {low:.0} to {high:.0}), \
         p50 {p50:.1?}, p99 {p99:.1?}, {cpu_us:.0} µs CPU a saga in this process, {server_us:.0} µs in the server"
    );
    println!("{syncs:.3} syncs a saga ({})", store.counted());
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "log", "log": scheme, "promise": store.promise().await, "in_flight": IN_FLIGHT,
                "sagas_per_second": per_second, "low": low, "high": high, "p50_us": p50.as_micros() as u64,
                "p99_us": p99.as_micros() as u64, "cpu_us": cpu_us, "server_cpu_us": server_us,
                "syncs_per_saga": syncs, "counted": store.counted(),
                "fdatasync_us": [probed_before.as_micros() as u64, probed_after.as_micros() as u64] })
    );
    load.stop().await;
    clean(&own).await;
}

/// What one run showed.
pub(crate) struct Run {
    pub(crate) count: usize,
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Run {
    /// Keeps so many sagas in flight for a while, evenly among these services.
    pub(crate) async fn of(loads: &[Arc<Load>], in_flight: usize, time: Duration) -> Self {
        let (cpu, begun) = (cpu_time(), Instant::now());
        let each = loads.iter().map(|load| load.drive(in_flight / loads.len(), begun + time));
        let took = futures::future::join_all(each).await.concat();
        Self::new(took, begun.elapsed(), cpu_time() - cpu)
    }

    /// From how long each saga took, and what all together did.
    pub(crate) fn new(mut took: Vec<Duration>, elapsed: Duration, cpu: Duration) -> Self {
        took.sort_unstable();
        let count = took.len();
        Self {
            count,
            per_second: count as f64 / elapsed.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
            p50: took[count / 2],
            p99: took[count * 99 / 100],
        }
    }
}

/// What the disk takes to keep 4 KiB that were appended to a file.
pub(crate) fn probe() -> Duration {
    let path = std::env::current_dir().expect("a folder").join(format!("fdatasync-{}", std::process::id()));
    let mut file = File::create(&path).expect("a file can be made here");
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; 4_096]).and_then(|()| file.sync_data()).expect("the disk takes it");
            begun.elapsed()
        })
        .collect();
    std::fs::remove_file(&path).expect("the file is there");
    took.sort_unstable();
    took[took.len() / 2]
}
