//! `bench core`: in-memory bus, log and inbox; four steps of 300 B; two worker threads.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::durable::{Run, runtime};
use crate::load::{Load, Parts};
use crate::process::resident_bytes;
use crate::spread::Spread;

const RUNS: usize = 5;
const RUN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
const HELD_IN_FLIGHT: u64 = 20_000;
const IN_FLIGHT_MAX: usize = 30_000;
const FINISHED: u64 = 150_000;

/// What is measured with the system's allocator.
pub(crate) const MEMORY: [&str; 3] = ["in-flight-memory", "queued-memory", "finished-memory"];
/// Sagas in flight.
pub(crate) const THROUGHPUT: [&str; 3] = ["1", "64", "1024"];
/// Parallel steps of one saga.
pub(crate) const FAN_OUT: [&str; 5] = ["steps-1", "steps-4", "steps-16", "steps-64", "steps-1000"];
/// How many steps are in flight then, whatever each saga has of them.
const STEPS_IN_FLIGHT: usize = 4_096;

/// Runs every part in a process of its own, so that none measures what another has left behind.
pub(crate) fn run(parts: &[&str]) {
    let allocator = if cfg!(feature = "mimalloc") { "mimalloc" } else { "the system's allocator" };
    println!(
        "in-memory bus, log and inbox; a saga of 4 parallel steps of 300 B, if not said otherwise; 2 worker threads; {allocator}"
    );
    let results = parts.iter().map(|part| {
        let program = std::env::current_exe().expect("this program");
        let child =
            Command::new(program).args(["core", part]).stderr(Stdio::inherit()).output().expect("it starts");
        assert!(child.status.success(), "part {part} ended with {}", child.status);
        let output = String::from_utf8(child.stdout).expect("text");
        let (shown, result) = output.trim_end().rsplit_once('\n').expect("a line for people and one of JSON");
        println!("{shown}");
        serde_json::from_str::<Value>(result).expect("JSON")
    });
    println!(
        "{}",
        json!({ "benchmark": "core", "allocator": allocator, "parts": results.collect::<Vec<_>>() })
    );
}

/// One part: a line for people, and one of JSON.
pub(crate) fn part(name: &str) {
    let result = match name {
        "in-flight-memory" => {
            let bytes = memory_in_flight(true);
            println!(
                "memory of a saga in flight: {bytes} B in its coordinator and the log (resident; {HELD_IN_FLIGHT} unanswered)"
            );
            json!({ "in_flight_bytes": bytes })
        }
        "queued-memory" => {
            let bytes = memory_in_flight(false);
            println!("the same with its four commands still on the in-memory bus: {bytes} B");
            json!({ "in_flight_bytes_queued": bytes })
        }
        "finished-memory" => {
            let (log, inbox) = (memory_finished(Some(1_000)), memory_finished(None));
            let row = inbox.saturating_sub(log) / 4;
            println!(
                "kept of a finished saga within the idempotency window: {log} B in the log; \
                 and {row} B for each step in its participant's inbox (resident)"
            );
            json!({ "finished_log_bytes": log, "finished_inbox_bytes_per_step": row })
        }
        part => match part.strip_prefix("steps-") {
            Some(steps) => fan_out(steps.parse().expect("a number of steps")),
            None => throughput(part.parse().expect("a number of sagas in flight")),
        },
    };
    println!("{result}");
}

fn throughput(in_flight: usize) -> Value {
    let Figures { per_second, p50, p99, cpu_us } = measured(Parts::new(10_000), in_flight);
    println!(
        "{in_flight:>5} in flight: {per_second:>8.0} sagas/s, p50 {p50:.0} µs, p99 {p99:.0} µs, {cpu_us:.1} µs CPU a saga (all of it: load, \
         coordinator, participants)"
    );
    json!({ "in_flight": in_flight, "sagas_per_second": per_second.json(), "p50_us": p50.json(), "p99_us": p99.json(),
            "cpu_us": cpu_us.json() })
}

/// What one step costs of a saga that has so many.
fn fan_out(steps: usize) -> Value {
    let in_flight = (STEPS_IN_FLIGHT / steps).max(1);
    let Figures { per_second, p50, cpu_us, .. } = measured(Parts { steps, ..Parts::new(10_000) }, in_flight);
    let (rate, cpu) = (per_second.times(steps as f64), cpu_us.times(1.0 / steps as f64));
    println!(
        "{steps:>5} steps a saga, {in_flight} sagas in flight: {rate:>8.0} steps/s, {cpu:.2} µs CPU a step; a saga's p50 {p50:.0} µs"
    );
    json!({ "steps": steps, "in_flight": in_flight, "steps_per_second": rate.json(), "cpu_us_per_step": cpu.json(), "p50_us": p50.json() })
}

/// Of several runs of one load.
struct Figures {
    per_second: Spread,
    p50: Spread,
    p99: Spread,
    cpu_us: Spread,
}

fn measured(parts: Parts, in_flight: usize) -> Figures {
    let runs: Vec<Run> = runtime().block_on(async {
        let load = [Load::start(parts)];
        Run::of(&load, in_flight, WARM_UP).await;
        let mut runs = Vec::new();
        for run in 1..=RUNS {
            eprint!("\r{in_flight} in flight: run {run} of {RUNS} ");
            runs.push(Run::of(&load, in_flight, RUN).await);
        }
        eprint!("\r                               \r");
        runs
    });
    let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    Figures {
        per_second: of(|run| run.per_second),
        p50: of(|run| run.p50.as_secs_f64() * 1e6),
        p99: of(|run| run.p99.as_secs_f64() * 1e6),
        cpu_us: of(|run| run.cpu_us),
    }
}

/// Leaves many sagas unanswered and looks at what they take: with their commands consumed by participants that say nothing, and with their
/// commands still on the in-memory bus.
fn memory_in_flight(are_commands_consumed: bool) -> u64 {
    runtime().block_on(async {
        let load = Load::start_unserved(Parts::new(IN_FLIGHT_MAX), are_commands_consumed).await;
        load.start_one().await;
        let before = resident_bytes();
        for _ in 1..HELD_IN_FLIGHT {
            load.start_one().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        (resident_bytes() - before) / HELD_IN_FLIGHT
    })
}

/// Lets many sagas end and looks at what grows meanwhile. With few inbox rows, that is the log alone.
fn memory_finished(rows_max: Option<usize>) -> u64 {
    runtime().block_on(async {
        let mut parts = Parts::new(10_000);
        parts.inbox_limits.rows_max = rows_max.unwrap_or(parts.inbox_limits.rows_max);
        let load = Load::start(parts);
        let run = async |count: u64| {
            load.finish(count, 64).await;
            (load.finished(), resident_bytes())
        };
        let (count_before, before) = run(FINISHED / 3).await;
        let (count_after, after) = run(FINISHED).await;
        after.saturating_sub(before) / (count_after - count_before)
    })
}
