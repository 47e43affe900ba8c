//! The table of cases and buses.

use std::collections::BTreeMap;
use std::fmt;

use super::Report;

/// The reports of each bus, or why there are none.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<(&'static str, Result<Vec<Report>, String>)>);

impl Table {
    pub(crate) fn add(&mut self, bus: &'static str, reports: Result<Vec<Report>, String>) {
        self.0.push((bus, reports));
    }

    /// The reports of each bus that has some.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, &Vec<Report>)> {
        self.0.iter().filter_map(|(bus, reports)| Some((*bus, reports.as_ref().ok()?)))
    }

    /// Whether every bus was run, at least one case was, and none failed.
    pub(crate) fn is_good(&self) -> bool {
        let mut all = self.columns().flat_map(|(_, reports)| reports).peekable();
        self.0.iter().all(|(_, reports)| reports.is_ok())
            && all.peek().is_some()
            && all.all(|report| ["passed", "does not apply"].contains(&report.verdict.as_str()))
    }

    fn of(&self, bus: &str, case: u8) -> Option<&Report> {
        let (_, reports) = self.columns().find(|(name, _)| *name == bus)?;
        reports.iter().find(|report| report.case == case)
    }

    /// How many cases ended so, on all buses.
    pub(crate) fn total(&self, verdict: &str) -> usize {
        self.0.iter().map(|(bus, _)| self.count(bus, verdict)).sum()
    }

    /// A line for each case that failed and each bus without results.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (bus, reports) in &self.0 {
            match reports {
                Err(why) => failures.push(format!("{bus}: no results: {why}")),
                Ok(reports) => {
                    for report in reports.iter().filter(|report| report.verdict == "failed") {
                        let why = report.reason.as_deref().unwrap_or_default();
                        failures.push(format!("{bus}: {} {}: {why}", report.case, report.name));
                    }
                }
            }
        }
        failures
    }

    fn count(&self, bus: &str, verdict: &str) -> usize {
        let reports = self.columns().filter(|(name, _)| *name == bus).flat_map(|(_, reports)| reports);
        reports.filter(|report| report.verdict == verdict).count()
    }
}

const WORDS: [(&str, &str); 4] =
    [("passed", "passed"), ("does not apply", "n/a"), ("failed", "FAILED"), ("not run", "not run")];

fn short(report: Option<&Report>) -> &'static str {
    let verdict = report.map_or("", |report| report.verdict.as_str());
    WORDS.iter().find(|(word, _)| *word == verdict).map_or("-", |(_, short)| short)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: BTreeMap<u8, &str> = self
            .columns()
            .flat_map(|(_, reports)| reports)
            .map(|report| (report.case, report.name.as_str()))
            .collect();
        write!(f, "{:<58}", format!("{} cases", names.len()))?;
        self.0.iter().try_for_each(|(bus, _)| write!(f, " {bus:<11}"))?;
        for (case, name) in &names {
            write!(f, "\n{case:>2} {name:<55}")?;
            self.0.iter().try_for_each(|(bus, _)| write!(f, " {:<11}", short(self.of(bus, *case))))?;
        }
        for (verdict, _) in WORDS {
            if self.0.iter().any(|(bus, _)| self.count(bus, verdict) > 0) {
                write!(f, "\n{verdict:<58}")?;
                self.0.iter().try_for_each(|(bus, _)| write!(f, " {:<11}", self.count(bus, verdict)))?;
            }
        }
        writeln!(f)?;
        for (verdict, what) in
            [("does not apply", "What does not apply"), ("not run", "Not run"), ("failed", "Failed")]
        {
            self.reasons(f, verdict, what)?;
        }
        for (bus, reports) in &self.0 {
            if let Err(why) = reports {
                writeln!(f, "\nNo results of {bus}: {why}")?;
            }
        }
        Ok(())
    }
}

impl Table {
    /// The reasons for this verdict, case by case.
    fn reasons(&self, f: &mut fmt::Formatter<'_>, verdict: &str, what: &str) -> fmt::Result {
        let mut title = Some(what);
        for (bus, reports) in self.columns() {
            for report in reports.iter().filter(|report| report.verdict == verdict) {
                if let Some(what) = title.take() {
                    writeln!(f, "\n{what}:")?;
                }
                let why = report.reason.as_deref().unwrap_or("no reason given");
                writeln!(f, "{:>2} {bus}: {why}", report.case)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(case: u8, verdict: &str) -> Report {
        let reason = (verdict != "passed").then(|| format!("why {case}"));
        let name = format!("case_{case}");
        Report { case, name, verdict: verdict.to_owned(), reason, seconds: 0.1, note: None }
    }

    #[test]
    fn every_verdict_is_shown_as_what_it_is() {
        let mut table = Table::default();
        table.add("memory", Ok(vec![report(1, "passed"), report(2, "does not apply")]));
        assert!(table.is_good());
        table.add("nats", Ok(vec![report(1, "failed"), report(2, "not run")]));
        table.add("kafka", Err("it crashed".to_owned()));
        assert!(!table.is_good());
        let shown = table.to_string();
        let row = |begin: &str| {
            let line = shown.lines().find(|line| line.starts_with(begin)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("2 cases"), "2 cases memory nats kafka");
        assert_eq!(row(" 1"), "1 case_1 passed FAILED -");
        assert_eq!(row(" 2"), "2 case_2 n/a not run -");
        assert_eq!(row("failed"), "failed 0 1 0");
        assert!(shown.contains("Failed:\n 1 nats: why 1\n"), "{shown}");
        assert!(shown.contains("No results of kafka: it crashed"), "{shown}");
        assert_eq!(table.failures().len(), 2, "{:?}", table.failures());
    }

    #[test]
    fn nothing_is_not_good() {
        let mut table = Table::default();
        assert!(!table.is_good());
        table.add("memory", Ok(Vec::new()));
        assert!(!table.is_good());
        table.add("nats", Ok(vec![report(1, "not run")]));
        assert!(!table.is_good());
    }
}
