//! The log in a database.

use std::path::Path;

use super::{parts, shown, table};
use crate::report::charts::{self, Bars};
use crate::report::results::{Kept, number, text};

pub(super) fn logs(all: &[&Kept], charts: &Path) -> Result<String, String> {
    let rows = all.iter().map(|kept| {
        vec![
            text(&kept.result, "/promise").to_owned(),
            shown(kept.number("/sagas_per_second"), 0),
            shown(kept.number("/p50_us") / 1e3, 1),
            shown(kept.number("/p99_us") / 1e3, 1),
            shown(kept.number("/cpu_us"), 0),
            shown(kept.number("/server_cpu_us"), 0),
            shown(kept.number("/syncs_per_saga"), 3),
            format!("{} / {}", kept.result["fdatasync_us"][0], kept.result["fdatasync_us"][1]),
        ]
    });
    let head = [
        "log",
        "sagas/s",
        "p50, ms",
        "p99, ms",
        "CPU µs a saga",
        "in the server",
        "syncs a saga",
        "fdatasync µs",
    ];
    let page =
        format!("## The log in a database, the bus in memory\n\n64 in flight.\n\n{}", table(&head, rows));
    let bars: Vec<_> = all
        .iter()
        .map(|kept| (text(&kept.result, "/log").to_owned(), kept.number("/sagas_per_second")))
        .collect();
    charts::bars(&charts.join("logs.svg"), &Bars { title: "sagas/s by the log", unit: "", bars: &bars })?;
    Ok(page + "![sagas/s by the log](benchmarks/logs.svg)\n\n")
}

pub(super) fn coordinators(all: &[&Kept], _: &Path) -> Result<String, String> {
    let rows = all.iter().flat_map(|kept| parts(kept, "lines")).map(|line| {
        vec![
            text(&line, "/replies").to_lowercase(),
            line["coordinators"].to_string(),
            shown(number(&line, "/sagas_per_second"), 0),
            shown(number(&line, "/ratio"), 2),
            shown(number(&line, "/p99_us") / 1e3, 1),
            shown(number(&line, "/server_cpu_us"), 0),
        ]
    });
    let head = ["topic of replies", "coordinators", "sagas/s", "of one's", "p99, ms", "CPU µs in the server"];
    let page = format!(
        "## Several coordinators on one PostgreSQL\n\n64 in flight in all.\n\n{}",
        table(&head, rows)
    );
    Ok(page)
}

pub(super) fn restarts(all: &[&Kept], _: &Path) -> Result<String, String> {
    let rows = all.iter().map(|kept| {
        vec![
            text(&kept.result, "/promise").to_owned(),
            kept.result["sagas"].to_string(),
            shown(kept.number("/first_command_ms"), 0),
            shown(kept.number("/first_old_ended_ms"), 0),
            shown(kept.number("/new_ended_ms"), 0),
            shown(kept.number("/all_ended_ms") / 1e3, 1),
            shown(kept.number("/peak_resident_bytes") / f64::from(1 << 20), 0),
        ]
    });
    let head = [
        "log",
        "sagas in flight",
        "first command, ms",
        "first old saga ended, ms",
        "first new one ended, ms",
        "all ended, s",
        "peak MiB",
    ];
    let page = format!(
        "## A coordinator that comes back\n\nFrom the start of the process.\n\n{}",
        table(&head, rows)
    );
    Ok(page)
}
