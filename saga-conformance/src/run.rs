use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::cases::{ALL, Case};
use crate::check::{Check, Stop};
use crate::stand::Stand;

/// A case that takes longer has failed.
const CASE_MAX: Duration = Duration::from_secs(300);
/// How many cases run at once, those aside that need the server for themselves.
const AT_ONCE: usize = 6;

/// What became of a case, as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number, from 1.
    pub case: u32,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it does not apply, or how it failed.
    pub reason: String,
    /// What it measured.
    pub note: String,
    /// How long it took.
    pub seconds: f64,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The promise was kept.
    Passed,
    /// The bus does not give the promise.
    #[serde(rename = "does not apply")]
    DoesNotApply,
    /// The promise was broken.
    Failed,
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    wanted: Vec<String>,
    json: Option<PathBuf>,
    is_list: bool,
    pub(crate) is_required: bool,
}

impl Options {
    /// Reads the arguments; those of cargo's own test harness that change nothing here are let pass.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match &*arg {
                "--json" => options.json = Some(args.next().ok_or("--json needs a file")?.into()),
                "--list" => options.is_list = true,
                "--required" => options.is_required = true,
                "--ignored" | "--include-ignored" | "--nocapture" | "--exact" | "--quiet" | "-q" => {}
                flag if flag.starts_with('-') => {
                    return Err(format!("{flag} is none of --json FILE, --list, --required"));
                }
                _ => options.wanted.push(arg),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, case: &Case) -> bool {
        let fits = |word: &String| {
            word.parse() == Ok(case.number) || (word.parse::<u32>().is_err() && case.name.contains(&**word))
        };
        self.wanted.is_empty() || self.wanted.iter().any(fits)
    }
}

/// Runs the cases that are wanted.
pub(crate) async fn run(stand: Stand, options: &Options) -> ExitCode {
    let wanted = || ALL.iter().filter(|case| options.wants(case));
    if options.is_list {
        wanted().for_each(|case| println!("{:>2} {}", case.number, case.name));
        return ExitCode::SUCCESS;
    }
    println!("{}: {} cases", stand.name, wanted().count());
    let together = stream::iter(wanted().filter(|case| !case.is_alone)).map(|case| judge(&stand, case));
    let mut reports: Vec<Report> = together.buffer_unordered(AT_ONCE).collect().await;
    for case in wanted().filter(|case| case.is_alone) {
        reports.push(judge(&stand, case).await);
    }
    reports.sort_by_key(|report| report.case);
    summary(&stand.name, &reports);
    let is_written = options.json.as_ref().is_none_or(|path| write(path, &reports));
    let failed = reports.iter().any(|report| report.verdict == Verdict::Failed);
    if failed || !is_written || reports.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn judge(stand: &Stand, case: &Case) -> Report {
    let stand = stand.for_case(case.number);
    let begun = Instant::now();
    let running = AssertUnwindSafe((case.run)(&stand)).catch_unwind();
    let outcome = match tokio::time::timeout(CASE_MAX, running).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Stop::Failed(format!("it panicked: {}", said(&*panic)))),
        Err(_) => Err(Stop::Failed(format!("it did not end within {CASE_MAX:?}"))),
    };
    let seconds = begun.elapsed().as_secs_f64();
    stand.clean_up().await;
    let report = report(case, &stand, outcome, seconds);
    show(&stand.name, &report);
    report
}

fn report(case: &Case, stand: &Stand, outcome: Check, seconds: f64) -> Report {
    let (verdict, reason) = match outcome {
        Ok(()) => (Verdict::Passed, String::new()),
        Err(Stop::DoesNotApply(why)) => (Verdict::DoesNotApply, why),
        Err(Stop::Failed(how)) => (Verdict::Failed, how),
    };
    Report { case: case.number, name: case.name.to_owned(), verdict, reason, note: stand.notes(), seconds }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

fn show(bus: &str, report: &Report) {
    let Report { case, name, verdict, reason, note, seconds } = report;
    let word = match verdict {
        Verdict::Passed => "passed",
        Verdict::DoesNotApply => "does not apply",
        Verdict::Failed => "FAILED",
    };
    let mut line = format!("{bus}: {case:>2} {name} … {word} ({seconds:.1} s)");
    for more in [reason, note] {
        if !more.is_empty() {
            line.push_str(": ");
            line.push_str(more);
        }
    }
    // A closed output is no reason to stop.
    let _nobody_reads = writeln!(std::io::stdout(), "{line}");
}

fn summary(bus: &str, reports: &[Report]) {
    let count = |wanted| reports.iter().filter(|report| report.verdict == wanted).count();
    let (passed, failed, not) =
        (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::DoesNotApply));
    println!("{bus}: {passed} passed, {failed} failed, {not} do not apply");
}

fn write(path: &PathBuf, reports: &[Report]) -> bool {
    let json = serde_json::to_string_pretty(reports).expect("reports are plain data");
    let written = std::fs::write(path, json);
    if let Err(error) = &written {
        eprintln!("the results cannot be written to {}: {error}", path.display());
    }
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        Options::parse(line.split_whitespace().map(str::to_owned)).unwrap()
    }

    #[test]
    fn cases_are_picked_by_number_and_name() {
        let names = |line: &str| {
            let options = parse(line);
            ALL.iter().filter(|case| options.wants(case)).map(|case| case.number).collect::<Vec<_>>()
        };
        assert_eq!(names("").len(), 55);
        assert_eq!(names("1 55"), [1, 55]);
        assert_eq!(names("round_trip"), [1]);
        assert!(parse("--required --nocapture --json x").is_required);
        assert!(Options::parse(["--nonsense".to_owned()]).is_err());
    }

    #[test]
    fn every_case_has_its_number() {
        let numbers: Vec<u32> = ALL.iter().map(|case| case.number).collect();
        assert_eq!(numbers, (1..=55).collect::<Vec<_>>());
    }
}
