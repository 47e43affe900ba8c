//! Sagas and messages over a broker, beside its own client.

use std::path::Path;

use serde_json::Value;

use super::{parts, shown, table};
use crate::report::charts::{self, Bars};
use crate::report::results::{Kept, Results, number, text};

/// What was measured in turns: with one step to many, or with four.
pub(super) fn compared(results: &Results, is_grid: bool) -> Vec<&Kept> {
    let has_both = |kept: &Kept| kept.result["sides"].as_array().is_some_and(|sides| sides.len() == 2);
    let mut all = results.of("compare");
    all.retain(|kept| has_both(kept) && (kept.result["grid"] == true) == is_grid);
    all
}

/// The side of a comparison with this name.
fn side<'a>(part: &'a Value, name: &str) -> &'a Value {
    let lines = part["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().find(|line| text(line, "/side") == name).unwrap_or(&Value::Null)
}

pub(super) fn brokers(all: &[&Kept], charts: &Path) -> Result<String, String> {
    let mut page = "## Sagas over a broker, beside the broker's own client\n\n".to_owned();
    let mut bars = Vec::new();
    for kept in all {
        let bus = text(&kept.result, "/bus");
        let promises = parts(kept, "sides")
            .iter()
            .map(|side| format!("- {}: {}\n", text(side, "/side"), text(side, "/promise")))
            .collect::<String>();
        let rows = parts(kept, "parts").into_iter().map(|part| {
            let (raw, ours) = (side(&part, "rawsaga"), side(&part, "saga-rs"));
            bars.push((format!("{bus}, {}", part["in_flight"]), number(&part, "/ratio/sagas_per_second")));
            vec![
                part["in_flight"].to_string(),
                shown(number(raw, "/sagas_per_second"), 0),
                shown(number(ours, "/sagas_per_second"), 0),
                shown(number(&part, "/ratio/sagas_per_second"), 2),
                shown(number(raw, "/p99_ms"), 1),
                shown(number(ours, "/p99_ms"), 1),
                shown(number(&part, "/ratio/p99"), 2),
                shown(number(ours, "/cpu_us"), 0),
                shown(number(ours, "/syncs_per_saga"), 3),
                shown(number(ours, "/messages_per_saga"), 2),
                format!("{} / {}", part["fdatasync_us"][0], part["fdatasync_us"][1]),
            ]
        });
        let head = [
            "in flight",
            "raw, sagas/s",
            "saga-rs, sagas/s",
            "ratio",
            "raw p99, ms",
            "saga-rs p99, ms",
            "ratio",
            "CPU µs a saga",
            "syncs a saga",
            "messages a saga",
            "fdatasync µs",
        ];
        page += &format!("### {bus}\n\n{promises}\n{}", table(&head, rows));
    }
    let title = "sagas/s, this library ÷ the broker's own client without a log";
    charts::bars(&charts.join("brokers.svg"), &Bars { title, unit: "", bars: &bars })?;
    page += "![the ratios](benchmarks/brokers.svg)\n\n";
    Ok(page)
}

pub(super) fn grids(all: &[&Kept], _: &Path) -> Result<String, String> {
    let mut page =
        "## Sagas of 1 to 64 steps over a broker\n\nCPU time of this library's side.\n\n".to_owned();
    for kept in all {
        let rows = parts(kept, "parts").into_iter().map(|part| {
            let (raw, ours) = (side(&part, "rawsaga"), side(&part, "saga-rs"));
            vec![
                part["in_flight"].to_string(),
                part["steps"].to_string(),
                shown(number(raw, "/sagas_per_second"), 0),
                shown(number(ours, "/sagas_per_second"), 0),
                shown(number(&part, "/ratio/sagas_per_second"), 2),
                shown(number(ours, "/cpu_us") / number(&part, "/steps"), 0),
            ]
        });
        let head = ["in flight", "steps", "raw, sagas/s", "saga-rs, sagas/s", "ratio", "CPU µs a step"];
        page += &format!("### {}, by steps\n\n{}", text(&kept.result, "/bus"), table(&head, rows));
    }
    Ok(page)
}

pub(super) fn buses(all: &[&Kept], charts: &Path) -> Result<String, String> {
    let mut bars = Vec::new();
    let mut rows = Vec::new();
    for kept in all {
        let bus = text(&kept.result, "/bus");
        for part in parts(kept, "parts") {
            let name = text(&part, "/part");
            bars.push((format!("{bus}, {name}"), number(&part, "/ratio")));
            rows.push(vec![
                bus.to_owned(),
                name.to_owned(),
                shown(number(&part, "/raw_per_second"), 0),
                shown(number(&part, "/ours_per_second"), 0),
                shown(number(&part, "/ratio"), 2),
                shown(number(&part, "/raw_cpu_us"), 1),
                shown(number(&part, "/ours_cpu_us"), 1),
            ]);
        }
    }
    let head = ["bus", "", "raw, messages/s", "adapter, messages/s", "ratio", "raw CPU µs", "adapter CPU µs"];
    let page = format!("## The adapters alone, beside their clients\n\n{}", table(&head, rows));
    let title = "messages/s, adapter ÷ client";
    charts::bars(&charts.join("buses.svg"), &Bars { title, unit: "", bars: &bars })?;
    Ok(page + "![the ratios](benchmarks/buses.svg)\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_section_shows_its_own_comparisons() {
        let kept = |is_grid: Value| {
            let result = json!({ "benchmark": "compare", "grid": is_grid, "sides": [{}, {}] });
            json!({ "command": "", "date": "", "machine": "", "result": result })
        };
        // Before there was a grid, nothing said that there was none.
        let kept = json!([kept(json!(true)), kept(json!(false)), kept(Value::Null)]);
        let results: Results = serde_json::from_value(kept).unwrap();
        assert_eq!([true, false].map(|is_grid| compared(&results, is_grid).len()), [1, 2]);
    }
}
