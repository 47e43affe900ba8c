//! What the page says of each kind of benchmark.

mod brokers;
mod databases;
mod memory;
mod peers;
mod soaks;

use std::path::Path;

use serde_json::Value;

use super::results::{Kept, Results};

/// What of the results a section is of, and what it says of them. Charts are written to the folder.
type Section = (fn(&Results) -> Vec<&Kept>, fn(&[&Kept], &Path) -> Result<String, String>);

const ALL: [Section; 9] = [
    (|results| brokers::compared(results, false), brokers::brokers),
    (|results| brokers::compared(results, true), brokers::grids),
    (|results| results.of("log"), databases::logs),
    (|results| results.of("coordinators"), databases::coordinators),
    (|results| results.of("restart"), databases::restarts),
    (|results| results.of("core"), memory::in_memory),
    (|results| results.of("steno"), peers::peers),
    (|results| results.of("bus"), brokers::buses),
    (|results| results.of("soak"), soaks::soaks),
];

/// All sections for which there are results, each with how they came about.
pub(super) fn page(results: &Results, charts: &Path) -> Result<String, String> {
    let mut page = String::new();
    for (select, say) in ALL {
        let kept = select(results);
        if !kept.is_empty() {
            page += &say(&kept, charts)?;
            page += &origins(&kept);
        }
    }
    Ok(page)
}

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

fn origins(kept: &[&Kept]) -> String {
    let mut lines: Vec<_> = kept.iter().map(|kept| format!("- {}\n", kept.origin())).collect();
    // One call may have made several.
    lines.dedup();
    lines.concat() + "\n"
}

fn parts(kept: &Kept, name: &str) -> Vec<Value> {
    kept.result[name].as_array().cloned().unwrap_or_default()
}
