use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How many of a log's last lines are shown when something was found.
const SHOWN_LINES_MAX: usize = 60;

/// How each target ended.
#[derive(Default)]
pub(super) struct Report(Vec<Line>);

struct Line {
    target: String,
    stats: Stats,
    found: Option<Found>,
}

struct Found {
    input: Option<PathBuf>,
    told: String,
}

/// What libFuzzer says of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    executions: u64,
    edges: u64,
    inputs: u64,
}

impl Report {
    pub(super) fn ended(&mut self, target: &str, is_clean: bool, log: &Path) -> Result<(), String> {
        let text = fs::read(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let found = (!is_clean).then(|| Found {
            input: lines.iter().find_map(|line| Some(line.split_once("Test unit written to ")?.1.into())),
            told: lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n"),
        });
        self.0.push(Line { target: target.to_owned(), stats: stats(&lines), found });
        Ok(())
    }

    /// Whether nothing was found. A target that never ran is a finding, too.
    pub(super) fn is_clean(&self) -> bool {
        self.0.iter().all(|line| line.found.is_none() && line.stats.executions > 0 && line.stats.edges > 0)
    }
}

fn stats(lines: &[&str]) -> Stats {
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    let executed = lines.iter().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    // As `#1234 DONE cov: 567 ft: 890 corp: 12/3456b …`.
    let after = |mark: &str| {
        let last = lines.iter().rev().find_map(|line| Some(line.split_once(mark)?.1))?;
        last.split([' ', '/']).next()
    };
    Stats { executions: number(executed), edges: number(after(" cov: ")), inputs: number(after(" corp: ")) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { target, found, .. } in &self.0 {
            let Some(Found { input, told }) = found else { continue };
            writeln!(f, "== {target} ==\n{told}")?;
            if let Some(input) = input {
                writeln!(f, "again: cargo xtask fuzz {target} --input {}", input.display())?;
            }
        }
        writeln!(f, "{:<10} {:>12} {:>8} {:>8}", "target", "executions", "edges", "inputs")?;
        for Line { target, stats, found } in &self.0 {
            let Stats { executions, edges, inputs } = stats;
            let ended = match found {
                Some(_) => "FOUND SOMETHING",
                None if *executions == 0 || *edges == 0 => "DID NOT RUN",
                None => "",
            };
            writeln!(f, "{target:<10} {executions:>12} {edges:>8} {inputs:>8}  {ended}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let lines = [
            "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#524288\tDONE   cov: 123 ft: 456 corp: 78/9012b lim: 4096 exec/s: 1 rss: 40Mb",
            "Done 524288 runs in 11 second(s)",
            "stat::number_of_executed_units: 524288",
        ];
        assert_eq!(stats(&lines), Stats { executions: 524_288, edges: 123, inputs: 78 });
        assert_eq!(stats(&["SAGA_FUZZ_TARGET names no target"]), Stats::default());
    }
}
