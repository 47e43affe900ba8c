//! The checkout's roles, each in a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{output, program, run};

/// Those that serve until they are asked to stop. The endpoint comes first, since others must know its address.
const SERVING: [(&str, &[&str]); 5] = [
    ("coordinator", &[]),
    ("inventory", &[]),
    ("payment", &["--fail", "payment:10"]),
    ("history", &[]),
    ("confirmation", &[]),
];
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How long a role may take to stop when it is asked to.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// The processes that serve. Dropping it ends those that still run.
pub(super) struct Roles {
    folder: PathBuf,
    running: Vec<(&'static str, Child)>,
}

impl Roles {
    /// Starts all but the shop; what they say and report goes into the folder.
    pub(super) fn start(example: &Path, folder: &Path, bus: &str) -> Result<Self, String> {
        let _none_yet = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut roles = Self { folder: folder.to_owned(), running: Vec::new() };
        roles.spawn(example, "endpoint", &["--listen", "127.0.0.1:0"])?;
        let callback = roles.said("endpoint", "listening on ")?;
        for (name, more) in SERVING {
            let mut args = vec!["--bus", bus];
            args.extend(more);
            if name == "coordinator" {
                args.extend(["--callback", &callback]);
            }
            roles.spawn(example, name, &args)?;
        }
        Ok(roles)
    }

    /// Where a role writes its report.
    pub(super) fn report(&self, role: &str) -> String {
        self.folder.join(format!("{role}.json")).to_string_lossy().into_owned()
    }

    fn log(&self, role: &str) -> PathBuf {
        self.folder.join(format!("{role}.log"))
    }

    fn spawn(&mut self, example: &Path, role: &'static str, more: &[&str]) -> Result<(), String> {
        let log = self.log(role);
        let told = |error| format!("{}: {error}", log.display());
        let file = File::create(&log).map_err(told)?;
        let errors = file.try_clone().map_err(told)?;
        let mut command = program(example, ["--role", role, "--report", &self.report(role)]);
        let child = command.args(more).stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.map_err(|error| format!("the role {role} could not be started: {error}"))?;
        self.running.push((role, child));
        Ok(())
    }

    /// Waits until a role says a line with this in it, and returns the rest of that line.
    fn said(&self, role: &str, what: &str) -> Result<String, String> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(self.log(role)).unwrap_or_default();
            let rest =
                log.lines().find_map(|line| line.split_once(what)).map(|(_, rest)| rest.trim().to_owned());
            if let Some(rest) = rest {
                return Ok(rest);
            }
            if begun.elapsed() > STARTS_WITHIN {
                return Err(format!("the role {role} did not say {what:?}; it said:\n{log}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks all to stop and compares their reports with the shop's.
    pub(super) fn stop_and_check(mut self, example: &Path) -> Result<(), String> {
        let mut reports = vec!["--check-reports".to_owned(), self.report("shop")];
        // The endpoint last: the others may still call it.
        while let Some((role, mut child)) = self.running.pop() {
            reports.push(self.folder.join(format!("{role}.json")).to_string_lossy().into_owned());
            let mut kill = Command::new("kill");
            kill.args(["-s", "TERM", &child.id().to_string()]);
            output(kill)?;
            ended(role, &mut child)?;
        }
        run(program(example, reports))
    }
}

fn ended(role: &str, child: &mut Child) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the role {role} ended with {status}")),
            Ok(None) if begun.elapsed() < STOPS_WITHIN => thread::sleep(Duration::from_millis(20)),
            waited => {
                let _may_have_ended = child.kill();
                return Err(format!("the role {role} did not stop when it was asked to: {waited:?}"));
            }
        }
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _may_have_ended = child.kill();
            let _reaped = child.wait();
        }
    }
}
