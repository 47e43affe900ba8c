//! What `cargo xtask bench` keeps of each benchmark: a file of JSON, with when and where it was run.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// One benchmark.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    /// What was called.
    command: String,
    date: String,
    machine: String,
    pub(super) result: Value,
}

impl Kept {
    /// A line that says how the figures came about.
    pub(super) fn origin(&self) -> String {
        format!("`{}`, {}, {}", self.command, self.date, self.machine)
    }

    /// A figure by its path, or the median of its spread.
    pub(super) fn number(&self, path: &str) -> f64 {
        number(&self.result, path)
    }
}

/// A figure by its path, or the median of its spread; not a number if it was not told.
pub(super) fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).unwrap_or(&Value::Null);
    found.as_f64().or_else(|| found.get("median")?.as_f64()).unwrap_or(f64::NAN)
}

/// A text by its path.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// All benchmarks, in the order of their files' names.
#[derive(Debug, Deserialize)]
pub(super) struct Results(Vec<Kept>);

impl Results {
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}; run a benchmark first", folder.display());
        let entries = fs::read_dir(folder).map_err(failed)?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "json"));
        files.sort();
        let read = |file: &std::path::PathBuf| {
            let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
        };
        files.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Those of one kind.
    pub(super) fn of(&self, benchmark: &str) -> Vec<&Kept> {
        self.0.iter().filter(|kept| text(&kept.result, "/benchmark") == benchmark).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_figure_is_a_number_or_the_median_of_a_spread() {
        let value = json!({ "plain": 3, "spread": { "median": 2.5, "low": 1.0, "high": 4.0 }, "none": null });
        assert_eq!([number(&value, "/plain"), number(&value, "/spread")], [3.0, 2.5]);
        assert!(number(&value, "/none").is_nan() && number(&value, "/absent").is_nan());
    }
}
