//! Processes that outlive this one, each with a group of its own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::output;

/// How long a server may take to stop when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Starts a server in a group of its own, what it says going to a file.
pub(super) fn spawn(mut command: Command, log: &Path) -> Result<u32, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|error| format!("{}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0).spawn();
    let child = child.map_err(|error| format!("{program} could not be started: {error}"))?;
    Ok(child.id())
}

/// Whether it runs, and is not only waiting for its parent to take note of its end.
pub(super) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    // Its first thread may be gone while others still end, and hold the ports.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_some_and(|state| state != 'Z' || threads > 1)
}

/// Sends a signal to its whole group.
pub(super) fn signal(pid: u32, name: &str) -> Result<(), String> {
    let mut command = Command::new("kill");
    command.args(["-s", name, "--", &format!("-{pid}")]);
    output(command).map(drop)
}

/// Ends it at once, and returns when it is gone.
pub(super) fn kill(pid: u32) -> Result<(), String> {
    if is_alive(pid) {
        signal(pid, "KILL")?;
    }
    gone(pid)
}

/// Asks it to stop; ends it if it does not.
pub(super) fn stop(pid: u32) -> Result<(), String> {
    signal(pid, "TERM")?;
    // One that is paused would not hear it.
    signal(pid, "CONT")?;
    if gone(pid).is_err() { kill(pid) } else { Ok(()) }
}

fn gone(pid: u32) -> Result<(), String> {
    let begun = Instant::now();
    while is_alive(pid) {
        if begun.elapsed() > STOP_MAX {
            return Err(format!("process {pid} is still there after {STOP_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
