//! The same load for long.

use std::path::Path;

use serde_json::Value;

use super::{parts, table};
use crate::report::charts::{self, Line};
use crate::report::results::{Kept, text};

pub(super) fn soaks(all: &[&Kept], charts: &Path) -> Result<String, String> {
    let rows = all.iter().map(|kept| {
        vec![
            text(&kept.result, "/promise").to_owned(),
            kept.result["minutes"].to_string(),
            kept.result["sagas"].to_string(),
            format!("{:+.2} %", kept.number("/rate_slope") * 100.0),
            format!("{:+.2} %", kept.number("/memory_slope") * 100.0),
        ]
    });
    let head = ["log", "minutes", "sagas", "slope of throughput", "slope of memory"];
    let mut page = format!("## For long\n\n{}", table(&head, rows));
    for (nth, kept) in all.iter().enumerate() {
        let points = |name: &str| parts(kept, name).iter().filter_map(Value::as_f64).collect::<Vec<_>>();
        for (what, title) in [("sagas_per_second", "sagas/s"), ("resident_mib", "resident MiB")] {
            let file = format!("soak-{nth}-{what}.svg");
            charts::line(&charts.join(&file), &Line { title, points: &points(what) })?;
            page += &format!("![{title}](benchmarks/{file})\n");
        }
    }
    Ok(page + "\n")
}
