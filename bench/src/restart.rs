//! `bench restart URL N`: a coordinator dies with so many sagas in flight, all of them due, and comes back in a new process.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use saga_core::memory::MemoryBus;
use serde_json::{Value, json};

use crate::asleep::Asleep;
use crate::durable::{probe, runtime};
use crate::load::{Load, Parts};
use crate::process::peak_resident_bytes;
use crate::store::{Store, clean, of_this_run};

/// How many starts are under way at once while the log is filled.
const STARTING: usize = 512;
/// What the sagas' first resend waits for, and some more: after that all are due.
const DUE_AFTER: Duration = Duration::from_secs(6);
/// The coordinator that comes back keeps no more sagas than this in memory, and no more messages wait on each topic.
const CACHED_MAX: usize = 20_000;
const QUEUED_MAX: usize = 16_384;
/// How many finished steps the participants, which are in the same process, remember.
const INBOX_ROWS_MAX: usize = 50_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const NAME: &str = "restarted";

pub(crate) fn run(url: &str, sagas: u64) {
    let own = of_this_run(url);
    let child = |part: &str| {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program);
        child.args(["restart", &own, &sagas.to_string(), part]).stderr(Stdio::inherit());
        let output = child.output().expect("it starts");
        assert!(output.status.success(), "{part} ended with {}", output.status);
        String::from_utf8(output.stdout).expect("text")
    };
    let probed_before = probe();
    print!("{}", child("fill"));
    std::thread::sleep(DUE_AFTER);
    let output = child("go-on");
    let (shown, result) = output.trim_end().rsplit_once('\n').expect("lines for people and one of JSON");
    let probed_after = probe();
    println!("{shown}");
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    let mut result: Value = serde_json::from_str(result).expect("JSON");
    result["fdatasync_us"] = json!([probed_before.as_micros() as u64, probed_after.as_micros() as u64]);
    println!("{result}");
    runtime().block_on(clean(&own));
}

/// One part, in a process of its own.
pub(crate) fn part(url: &str, sagas: u64, part: &str) {
    match part {
        "fill" => runtime().block_on(fill(url, sagas)),
        "go-on" => runtime().block_on(go_on(url, sagas)),
        other => panic!("there is no part {other}"),
    }
}

fn parts(in_flight_max: usize) -> Parts {
    let mut parts = Parts::new(in_flight_max);
    parts.options.name = NAME.into();
    parts
}

/// Starts sagas that nobody answers, and ends without giving the lease back, as in a crash.
async fn fill(url: &str, sagas: u64) {
    let (store, log) = Store::open(url).await;
    println!("saga-rs {}; {}; bus and inbox in memory", env!("CARGO_PKG_VERSION"), store.promise().await);
    // What is sent again meanwhile would not be due at the restart.
    let log = Arc::new(Asleep(log));
    let parts =
        Parts { log, prefix: "old".to_owned(), ..parts(usize::try_from(sagas).expect("it fits") + STARTING) };
    let begun = Instant::now();
    let load = Load::start_unserved(parts, true).await;
    let mut starting = FuturesUnordered::new();
    for _ in 1..sagas {
        if starting.len() == STARTING {
            starting.next().await;
        }
        starting.push(load.start_one());
    }
    while starting.next().await.is_some() {}
    let took = begun.elapsed().as_secs_f64();
    println!("{sagas} sagas of 4 parallel steps of 300 B, none answered: started in {took:.1} s");
    std::process::exit(0);
}

/// Comes back under the same name, with participants that answer.
async fn go_on(url: &str, sagas: u64) {
    let begun = Instant::now();
    let (store, log) = Store::open(url).await;
    let mut parts = Parts { log: Arc::clone(&log), prefix: "new".to_owned(), ..parts(10_000) };
    parts.options.sagas_cached_max = CACHED_MAX;
    parts.bus = Arc::new(MemoryBus::builder().topic_messages_max(QUEUED_MAX).build());
    parts.inbox_limits.rows_max = INBOX_ROWS_MAX;
    let load = Load::start(parts);
    let first_new = async {
        load.one().await;
        begun.elapsed()
    };
    let first_old = async {
        while load.executed() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    };
    let first_ended = async {
        load.ended("old", 0).await;
        begun.elapsed()
    };
    let all_ended = async {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let open = log.census().await.expect("the log answers");
            if open.iter().map(|line| line.count).sum::<u64>() == 0 {
                return begun.elapsed();
            }
        }
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let meanwhile = tokio::spawn(new_ones(Arc::clone(&load), Arc::clone(&is_over)));
    let (first_new, first_old, first_ended, all_ended) =
        futures::join!(first_new, first_old, first_ended, all_ended);
    is_over.store(true, Ordering::Relaxed);
    let took = meanwhile.await.expect("it does not panic");
    let (p50, worst) = (took[took.len() / 2], took[took.len() - 1]);
    let peak = peak_resident_bytes();
    println!(
        "restarted with {sagas} sagas in flight, all due; at most {CACHED_MAX} in the coordinator's memory and {QUEUED_MAX} messages on \
         each topic of the in-memory bus"
    );
    println!(
        "from the start of the process: first command {first_old:.2?}, first old saga ended {first_ended:.2?}, a new saga ended {first_new:.2?}, \
         all ended {all_ended:.1?}; {} new sagas meanwhile, p50 {p50:.1?}, longest {worst:.1?}; most resident memory {} MiB, participants included",
        took.len(),
        peak >> 20
    );
    println!(
        "{}",
        json!({ "benchmark": "restart", "promise": store.promise().await, "sagas": sagas, "sagas_cached_max": CACHED_MAX,
                "first_command_ms": first_old.as_millis() as u64, "first_old_ended_ms": first_ended.as_millis() as u64,
                "new_ended_ms": first_new.as_millis() as u64, "all_ended_ms": all_ended.as_millis() as u64,
                "new_p50_us": p50.as_micros() as u64, "new_longest_us": worst.as_micros() as u64,
                "peak_resident_bytes": peak })
    );
}

/// Starts a saga now and then and awaits its end; returns how long each took, the shortest first.
async fn new_ones(load: Arc<Load>, is_over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = vec![load.one().await];
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        took.push(load.one().await);
    }
    took.sort_unstable();
    took
}
