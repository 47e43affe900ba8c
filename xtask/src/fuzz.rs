//! Fuzzing, guided by coverage, on the stable toolchain: libFuzzer, and our own crates built with the compiler's coverage counters.

mod command_line;
mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

pub(crate) use self::command_line::{Plan, USAGE, chosen};
use self::report::Report;
use crate::built;
use crate::command::{ourselves, program, run as run_command};
use crate::workspace::target_directory;

/// Says that this program is to stand in for the compiler. Cargo asks it to build the crates of this workspace, and none else: so what these
/// depend on is built once, for the tests and for this.
const AS_COMPILER: &str = "SAGA_XTASK_INSTRUMENTS";
/// Counters for each edge of the code, and what is compared with what, as libFuzzer wants them. Optimized a little, with all checks on.
const COVERAGE: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Copt-level=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];
/// How long one input may take, in seconds, on a machine that does other things as well.
const INPUT_SECONDS_MAX: u32 = 30;
/// How much memory a target may take as a whole, in MiB. What one input may take is for the target to say.
const MEMORY_MIB_MAX: u32 = 1_024;

/// Whether cargo has called this program in the place of the compiler: with the compiler's path and its arguments.
pub(crate) fn is_compiler() -> bool {
    std::env::var_os(AS_COMPILER).is_some()
}

/// Compiles, with counters.
pub(crate) fn compile() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let compiler = words.next().unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    let words: Vec<_> = words.collect();
    // When cargo only asks for the compiler's version there is nothing to be instrumented.
    let is_crate = words.iter().any(|word| word == "--crate-name");
    command.args(words).args(COVERAGE.iter().filter(|_| is_crate));
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// Runs targets side by side, and says whether nothing was found.
pub(crate) fn run(plan: &Plan) -> Result<bool, String> {
    let fuzzer = build()?;
    let place = Place::new()?;
    let targets = place.targets(&plan.targets)?;
    if let Some(input) = &plan.input {
        let [target] = &targets[..] else { return Err("--input wants one target".to_owned()) };
        run_command(with_target(program(&fuzzer, [input]), target))?;
        return Ok(true);
    }
    println!("{} targets side by side for {} s", targets.len(), plan.seconds);
    let mut running = Vec::new();
    for target in targets {
        let started = start(&fuzzer, &place, &target, plan.seconds);
        running.push((target, started?));
    }
    let mut report = Report::default();
    for (target, mut child) in running {
        let status = child.wait().map_err(|error| format!("{target} was lost: {error}"))?;
        report.ended(&target, status.success(), &place.log(&target))?;
    }
    println!("\n{report}");
    Ok(report.is_clean())
}

fn build() -> Result<PathBuf, String> {
    let compiler = ourselves()?;
    built::instrumented("fuzz", "saga-fuzz", |command| {
        command.env("RUSTC_WORKSPACE_WRAPPER", &compiler).env(AS_COMPILER, "1");
    })
}

fn with_target(mut command: Command, target: &str) -> Command {
    command.env("SAGA_FUZZ_TARGET", target).env_remove(AS_COMPILER);
    command
}

fn start(fuzzer: &Path, place: &Place, target: &str, seconds: u64) -> Result<Child, String> {
    let found = place.found(target);
    fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let log = File::create(place.log(target)).map_err(|error| format!("the log of {target}: {error}"))?;
    let mut command =
        with_target(program(fuzzer, [found.as_os_str(), place.seeds(target).as_os_str()]), target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", place.folder.display()))
        .arg("-print_final_stats=1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().map_err(|error| format!("{target} could not be started: {error}"))
}

/// Where seeds are, and what is found goes.
struct Place {
    seeds: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new() -> Result<Self, String> {
        let folder = target_directory()?.join("fuzz");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { seeds: PathBuf::from("fuzz/corpus"), folder })
    }

    /// These targets; all that have seeds, if none is named.
    fn targets(&self, named: &[String]) -> Result<Vec<String>, String> {
        let folders =
            fs::read_dir(&self.seeds).map_err(|error| format!("{}: {error}", self.seeds.display()))?;
        let mut all: Vec<_> =
            folders.flatten().filter_map(|folder| folder.file_name().into_string().ok()).collect();
        all.sort();
        match named.iter().find(|name| !all.contains(name)) {
            Some(unknown) => Err(format!("there is no target {unknown:?}; there are {}", all.join(", "))),
            None if named.is_empty() => Ok(all),
            None => Ok(named.to_vec()),
        }
    }

    fn seeds(&self, target: &str) -> PathBuf {
        self.seeds.join(target)
    }

    /// Inputs that reached something new; the next run goes on from them.
    fn found(&self, target: &str) -> PathBuf {
        self.folder.join("corpus").join(target)
    }

    fn log(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{target}.log"))
    }
}
