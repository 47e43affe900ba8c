//! `bench log URL`: the saga log in a database, every append durable before anything follows from it; bus and inbox in memory.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use saga_core::ports::SagaLog;
use saga_sql::postgres::PostgresLog;
use saga_sql::sqlite::SqliteLog;
use serde_json::json;

use crate::load::Load;
use crate::process::cpu_time;

const RUNS: usize = 5;
const RUN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(2);
const IN_FLIGHT: usize = 64;

pub(crate) fn run(url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure(url));
}

async fn measure(url: &str) {
    let scheme = url.split(':').next().unwrap_or_default();
    let log: Arc<dyn SagaLog> = match scheme {
        "sqlite" => Arc::new(SqliteLog::connect(url).await.expect("the file can be opened")),
        _ => Arc::new(PostgresLog::connect(url).await.expect("the server can be reached")),
    };
    let probed_before = probe();
    let load = Load::start_with(log, 10_000, None);
    load.drive(IN_FLIGHT, Instant::now() + WARM_UP).await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (cpu, begun) = (cpu_time(), Instant::now());
        let mut took = load.drive(IN_FLIGHT, begun + RUN).await;
        let elapsed = begun.elapsed().as_secs_f64();
        took.sort_unstable();
        let count = took.len();
        let cpu_us = (cpu_time() - cpu).as_secs_f64() * 1e6 / count as f64;
        runs.push((count as f64 / elapsed, cpu_us, took[count / 2], took[count * 99 / 100]));
    }
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (per_second, cpu_us, p50, p99) = runs[RUNS / 2];
    let (low, high) = (runs[0].0, runs[RUNS - 1].0);
    let probed_after = probe();
    println!(
        "log in {scheme}, bus and inbox in memory; a saga of 4 parallel steps of 300 B; {IN_FLIGHT} in flight: {per_second:.0} sagas/s \
         (median of {RUNS}; {low:.0} to {high:.0}), p50 {p50:.1?}, p99 {p99:.1?}, {cpu_us:.0} µs CPU a saga in this process"
    );
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "log", "log": scheme, "in_flight": IN_FLIGHT, "sagas_per_second": per_second, "low": low,
                "high": high, "p50_us": p50.as_micros() as u64, "p99_us": p99.as_micros() as u64, "cpu_us": cpu_us,
                "fdatasync_us": [probed_before.as_micros() as u64, probed_after.as_micros() as u64] })
    );
}

/// What the disk takes to keep 4 KiB that were appended to a file.
fn probe() -> Duration {
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
