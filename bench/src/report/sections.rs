//! What the page says of each kind of benchmark.

mod brokers;
mod databases;
mod memory;
mod peers;
mod soaks;

use std::path::Path;

use serde_json::Value;

use super::results::{Kept, Results};

type Section = fn(&Results, &Path) -> Result<Option<String>, String>;

pub(super) const ALL: [Section; 9] = [
    brokers::brokers,
    brokers::grids,
    databases::logs,
    databases::coordinators,
    databases::restarts,
    memory::in_memory,
    peers::peers,
    brokers::buses,
    soaks::soaks,
];

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
