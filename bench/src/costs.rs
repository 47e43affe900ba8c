//! `bench core costs`: what a saga of four steps costs whatever the machine, all in memory. Counts, not times.

use allocation_counter::{AllocationInfo, measure};
use serde_json::json;

use crate::load::{Load, Parts};
use crate::process::peak_resident_bytes;

const IN_FLIGHT: usize = 64;
/// Until nothing grows but what is kept of each saga.
const WARM_UP: u64 = 5_000;
const SAGAS: u64 = 20_000;

/// Counts on one thread, where all of it runs: only its own allocations are counted.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let load = runtime.block_on(async {
        let load = Load::start(Parts::new(10_000));
        load.finish(WARM_UP, IN_FLIGHT).await;
        load
    });
    let (sagas_before, commands_before) = (load.finished(), load.executed());
    let AllocationInfo { count_total, bytes_total, .. } =
        measure(|| runtime.block_on(load.finish(SAGAS, IN_FLIGHT)));
    let sagas = load.finished() - sagas_before;
    let a_saga = |count: u64| count as f64 / sagas as f64;
    let (allocations, bytes) = (a_saga(count_total), a_saga(bytes_total));
    // Each command has its reply.
    let messages = a_saga(2 * (load.executed() - commands_before));
    let peak = peak_resident_bytes();
    println!(
        "a saga of 4 parallel steps of 300 B, {IN_FLIGHT} in flight, all of it (load, coordinator, participants) on one thread: {allocations:.1} \
         allocations of {bytes:.0} B together, {messages:.2} messages; the process had {:.1} MiB resident at most ({sagas} sagas counted)",
        peak as f64 / f64::from(1 << 20)
    );
    let part = json!({ "in_flight": IN_FLIGHT, "sagas": sagas, "allocations_per_saga": allocations,
                       "allocated_bytes_per_saga": bytes, "messages_per_saga": messages, "peak_resident_bytes": peak });
    println!(
        "{}",
        json!({ "benchmark": "core", "allocator": "the system's allocator, counted", "parts": [part] })
    );
}
