//! `bench soak URL|memory: MINUTES`: the same load for long, and whether throughput or memory have a slope.

use std::sync::Arc;
use std::time::Duration;

use saga_core::memory::MemoryLog;
use saga_core::ports::SagaLog;
use serde_json::json;

use crate::durable::{Run, probe, runtime};
use crate::load::{Load, Parts};
use crate::process::resident_bytes;
use crate::store::{Store, clean, of_this_run, refuse_used};

const IN_FLIGHT: usize = 64;
/// Of each point of the line.
const PART: Duration = Duration::from_secs(5);
/// What is remembered of finished sagas must be full before the first point: it grows until then.
const WARM_UP: Duration = Duration::from_secs(60);
const REMEMBERED_FOR: Duration = Duration::from_secs(30);
const INBOX_ROWS_MAX: usize = 50_000;

/// What a line says that is fitted to points: by how much, of their mean, the last is higher than the first.
fn slope(points: &[f64]) -> f64 {
    let count = points.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, points.iter().sum::<f64>() / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (nth, point) in points.iter().enumerate() {
        let x = nth as f64 - mean_x;
        above += x * (point - mean_y);
        below += x * x;
    }
    above / below * (count - 1.0) / mean_y
}

pub(crate) fn run(url: &str, minutes: u64) {
    runtime().block_on(measure(url, minutes));
}

async fn measure(url: &str, minutes: u64) {
    let (own, is_in_memory) = (of_this_run(url), url == "memory:");
    refuse_used(&own);
    let (promise, log): (_, Arc<dyn SagaLog>) = if is_in_memory {
        let log = MemoryLog::builder().idempotency_window(REMEMBERED_FOR).build();
        ("log in memory, lost with the process".to_owned(), Arc::new(log))
    } else {
        let joint = if own.contains('?') { '&' } else { '?' };
        let window = REMEMBERED_FOR.as_millis();
        let (store, log) = Store::open(&format!("{own}{joint}idempotency_window_ms={window}")).await;
        (store.promise().await, log)
    };
    println!(
        "saga-rs {}; {promise}; bus and inbox in memory; a saga of 4 parallel steps of 300 B, {IN_FLIGHT} in flight, finished ones remembered for \
         {REMEMBERED_FOR:?}; {minutes} minutes in parts of {PART:?}, after a warm-up of {WARM_UP:?}",
        env!("CARGO_PKG_VERSION")
    );
    let probed_before = probe();
    let mut parts = Parts { log, ..Parts::new(10_000) };
    parts.inbox_limits.rows_max = INBOX_ROWS_MAX;
    let load = [Load::start(parts)];
    Run::of(&load, IN_FLIGHT, WARM_UP).await;
    let (mut rates, mut memory, mut sagas) = (Vec::new(), Vec::new(), 0);
    let count = minutes * 60 / PART.as_secs();
    for nth in 1..=count {
        let run = Run::of(&load, IN_FLIGHT, PART).await;
        sagas += run.count;
        rates.push(run.per_second);
        memory.push(resident_bytes() as f64 / f64::from(1 << 20));
        eprint!("\r{nth} of {count}: {:.0} sagas/s, {:.1} MiB ", run.per_second, memory[memory.len() - 1]);
    }
    eprint!("\r{:60}\r", "");
    let probed_after = probe();
    let (of_rate, of_memory) = (slope(&rates), slope(&memory));
    let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
    println!(
        "{sagas} sagas: {:.0} sagas/s, a slope of {:+.2} % over all of it; {:.1} MiB resident, {:+.2} %",
        mean(&rates),
        of_rate * 100.0,
        mean(&memory),
        of_memory * 100.0
    );
    println!("fdatasync, p50 of 100: {probed_before:.1?} before, {probed_after:.1?} after");
    println!(
        "{}",
        json!({ "benchmark": "soak", "promise": promise, "minutes": minutes, "sagas": sagas, "sagas_per_second": rates, "resident_mib": memory,
                "rate_slope": of_rate, "memory_slope": of_memory,
                "fdatasync_us": [probed_before.as_micros() as u64, probed_after.as_micros() as u64] })
    );
    load[0].stop().await;
    if !is_in_memory {
        clean(&own).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line_and_not_of_its_noise() {
        assert!(slope(&[100.0; 10]).abs() < 1e-9);
        let rising: Vec<_> = (0..=10).map(|x| 95.0 + f64::from(x)).collect();
        assert!((slope(&rising) - 0.1).abs() < 1e-9);
        let noisy: Vec<_> = (0..100).map(|x| 100.0 + f64::from(x % 2)).collect();
        assert!(slope(&noisy).abs() < 0.001);
    }
}
