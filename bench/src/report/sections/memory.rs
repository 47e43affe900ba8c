//! All in memory.

use std::path::Path;

use serde_json::Value;

use super::{parts, shown, table};
use crate::report::charts::{self, Bars};
use crate::report::results::{Kept, number};

pub(super) fn in_memory(all: &[&Kept], charts: &Path) -> Result<String, String> {
    let parts: Vec<_> = all.iter().flat_map(|kept| parts(kept, "parts")).collect();
    let with = |name: &'static str| parts.iter().filter(move |part| part.get(name).is_some());
    let mut page = "## All in memory\n\n".to_owned();
    let rows = with("sagas_per_second").map(|part| {
        vec![
            part["in_flight"].to_string(),
            shown(number(part, "/sagas_per_second"), 0),
            shown(number(part, "/p50_us"), 0),
            shown(number(part, "/p99_us"), 0),
            shown(number(part, "/cpu_us"), 1),
        ]
    });
    page += &table(&["in flight", "sagas/s", "p50, µs", "p99, µs", "CPU µs a saga"], rows);
    let mut bytes = Vec::new();
    for (name, what) in [
        ("in_flight_bytes", "in flight, in coordinator and log"),
        ("in_flight_bytes_queued", "with its commands on the in-memory bus, too"),
        ("finished_log_bytes", "finished, within the idempotency window"),
        ("finished_inbox_bytes_per_step", "finished, of each step in its inbox"),
    ] {
        bytes.extend(
            with(name).map(|part| vec![what.to_owned(), shown(number(part, &format!("/{name}")), 0)]),
        );
    }
    page += &table(&["memory of a saga", "bytes"], bytes);
    let counted: Vec<_> = with("allocations_per_saga").map(costs).collect();
    if !counted.is_empty() {
        let head = ["allocations a saga", "bytes allocated", "messages a saga", "sagas counted", "peak MiB"];
        page += &table(&head, counted);
    }
    let steps: Vec<_> = with("cpu_us_per_step").collect();
    if !steps.is_empty() {
        let rows = steps.iter().map(|part| {
            vec![
                part["steps"].to_string(),
                part["in_flight"].to_string(),
                shown(number(part, "/steps_per_second"), 0),
                shown(number(part, "/cpu_us_per_step"), 2),
            ]
        });
        page += &table(&["steps of a saga", "sagas in flight", "steps/s", "CPU µs a step"], rows);
        let bars: Vec<_> =
            steps.iter().map(|part| (part["steps"].to_string(), number(part, "/cpu_us_per_step"))).collect();
        let title = "CPU µs a step, by the steps of a saga";
        charts::bars(&charts.join("fan-out.svg"), &Bars { title, unit: " µs", bars: &bars })?;
        page += "![CPU time of a step](benchmarks/fan-out.svg)\n\n";
    }
    Ok(page)
}

/// What a saga costs whatever the machine.
fn costs(part: &Value) -> Vec<String> {
    vec![
        shown(number(part, "/allocations_per_saga"), 1),
        shown(number(part, "/allocated_bytes_per_saga"), 0),
        shown(number(part, "/messages_per_saga"), 2),
        part["sagas"].to_string(),
        shown(number(part, "/peak_resident_bytes") / f64::from(1 << 20), 1),
    ]
}
