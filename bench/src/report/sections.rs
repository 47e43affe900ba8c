//! What the page says of each kind of benchmark.

use std::path::Path;

use serde_json::Value;

use super::charts::{self, Bars, Line};
use super::results::{Kept, Results, number, text};

type Section = fn(&Results, &Path) -> Result<Option<String>, String>;

pub(super) const ALL: [Section; 8] = [brokers, logs, coordinators, restarts, in_memory, peers, buses, soaks];

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.iter().map(|cell| (*cell).to_owned()).collect());
    text += &line(vec!["---".to_owned(); head.len()]);
    text.extend(rows.into_iter().map(line));
    text + "\n"
}

/// A figure with so many digits behind the point; a dash if it was not told.
fn shown(figure: f64, digits: usize) -> String {
    if figure.is_nan() { "–".to_owned() } else { format!("{figure:.digits$}") }
}

fn origins<'a>(kept: impl IntoIterator<Item = &'a Kept>) -> String {
    let mut lines: Vec<_> = kept.into_iter().map(|kept| format!("- {}\n", kept.origin())).collect();
    // One call may have made several.
    lines.dedup();
    lines.concat() + "\n"
}

fn parts(kept: &Kept, name: &str) -> Vec<Value> {
    kept.result[name].as_array().cloned().unwrap_or_default()
}

/// The side of a comparison with this name.
fn side<'a>(part: &'a Value, name: &str) -> &'a Value {
    let lines = part["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().find(|line| text(line, "/side") == name).unwrap_or(&Value::Null)
}

fn brokers(results: &Results, charts: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results
        .of("compare")
        .filter(|kept| kept.result["sides"].as_array().is_some_and(|sides| sides.len() == 2))
        .collect();
    if all.is_empty() {
        return Ok(None);
    }
    let mut page = "## Sagas over a broker, beside the broker's own client\n\n".to_owned();
    let mut bars = Vec::new();
    for kept in &all {
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
            "fdatasync µs",
        ];
        page += &format!("### {bus}\n\n{promises}\n{}", table(&head, rows));
    }
    let title = "sagas/s, this library ÷ the broker's own client without a log";
    charts::bars(&charts.join("brokers.svg"), &Bars { title, unit: "", bars: &bars })?;
    page += "![the ratios](benchmarks/brokers.svg)\n\n";
    Ok(Some(page + &origins(all)))
}

fn logs(results: &Results, charts: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("log").collect();
    if all.is_empty() {
        return Ok(None);
    }
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
    Ok(Some(page + "![sagas/s by the log](benchmarks/logs.svg)\n\n" + &origins(all)))
}

fn coordinators(results: &Results, _: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("coordinators").collect();
    let Some(kept) = all.first() else { return Ok(None) };
    let rows = parts(kept, "lines").into_iter().map(|line| {
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
    Ok(Some(page + &origins(all)))
}

fn restarts(results: &Results, _: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("restart").collect();
    if all.is_empty() {
        return Ok(None);
    }
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
    Ok(Some(page + &origins(all)))
}

fn in_memory(results: &Results, charts: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("core").collect();
    if all.is_empty() {
        return Ok(None);
    }
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
    Ok(Some(page + &origins(all)))
}

fn peers(results: &Results, _: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("steno").collect();
    if all.is_empty() {
        return Ok(None);
    }
    let rows = all.iter().flat_map(|kept| {
        let ratio = kept.number("/ratio");
        parts(kept, "sides").into_iter().map(move |side| {
            let name = text(&side, "/side");
            vec![
                text(&kept.result, "/promise").to_owned(),
                name.to_owned(),
                shown(number(&side, "/sagas_per_second"), 0),
                shown(if name == "steno" { 1.0 } else { ratio }, 2),
                shown(number(&side, "/p50_ms"), 1),
                shown(number(&side, "/p99_ms"), 1),
                shown(number(&side, "/cpu_us"), 0),
            ]
        })
    });
    let head = ["logs", "", "sagas/s", "÷ steno", "p50, ms", "p99, ms", "CPU µs a saga"];
    let page = format!(
        "## Beside steno\n\nThe other crate that coordinates sagas; it runs steps in its own process, without a bus. 64 in flight.\n\n{}",
        table(&head, rows)
    );
    Ok(Some(page + &origins(all)))
}

fn buses(results: &Results, charts: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("bus").collect();
    if all.is_empty() {
        return Ok(None);
    }
    let mut bars = Vec::new();
    let mut rows = Vec::new();
    for kept in &all {
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
    Ok(Some(page + "![the ratios](benchmarks/buses.svg)\n\n" + &origins(all)))
}

fn soaks(results: &Results, charts: &Path) -> Result<Option<String>, String> {
    let all: Vec<_> = results.of("soak").collect();
    if all.is_empty() {
        return Ok(None);
    }
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
    Ok(Some(page + "\n" + &origins(all)))
}
