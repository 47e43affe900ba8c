//! Other programs, run so that one sees what is run and what it says.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// Where this very program is. `main` asks first: cargo may put a newer one in its place while it runs, and then the system no longer knows.
pub(crate) fn ourselves() -> Result<PathBuf, String> {
    static PLACE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let place =
        || std::env::current_exe().map_err(|why| format!("this program does not know its own place: {why}"));
    PLACE.get_or_init(place).clone()
}

/// Cargo itself, with these arguments.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    program(Path::new("cargo"), args)
}

/// A program with these arguments, in the environment that a shell would give it.
pub(crate) fn program<S: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    // `cargo run` describes this very package to us. Build scripts that read it would be run anew for every other package.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs it, its output going where ours goes.
pub(crate) fn run(command: Command) -> Result<(), String> {
    let shown = shown(&command);
    let status = ended(command)?;
    if status.success() { Ok(()) } else { Err(format!("{shown} ended with {status}")) }
}

/// The same, and how it ended.
pub(crate) fn ended(mut command: Command) -> Result<ExitStatus, String> {
    announce(&command);
    command.status().map_err(|error| not_started(&command, &error))
}

/// Runs it, handing each line of its standard output to `line`, and returns whether it succeeded.
pub(crate) fn run_lines(mut command: Command, mut line: impl FnMut(&str)) -> Result<bool, String> {
    announce(&command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| not_started(&command, &error))?;
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    for text in output.lines() {
        line(&text.map_err(|error| format!("the output of {} broke off: {error}", shown(&command)))?);
    }
    let status = child.wait().map_err(|error| format!("{} was lost: {error}", shown(&command)))?;
    Ok(status.success())
}

/// Runs it quietly and returns what it wrote to standard output; the error holds what it said of its failure.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| not_started(&command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} ended with {}: {}", shown(&command), output.status, said.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{} did not write UTF-8", shown(&command)))
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("{} could not be started: {error}", shown(command))
}
