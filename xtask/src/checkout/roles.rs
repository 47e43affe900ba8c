//! The checkout's roles, each in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{program, run};
use crate::processes::Processes;

/// Those that serve until they are asked to stop. The endpoint comes first, since others must know its address.
const SERVING: [(&str, &[&str]); 5] = [
    ("coordinator", &[]),
    ("inventory", &[]),
    ("payment", &["--fail", "payment:10"]),
    ("history", &[]),
    (CONFIRMATION, &[]),
];
/// The one that another program may take the place of.
const CONFIRMATION: &str = "confirmation";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Where the processes keep what must outlive them, if anywhere, and of which roles there are two.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lasting<'a> {
    pub(crate) log: Option<&'a str>,
    pub(crate) books: Option<&'a str>,
    pub(crate) twice: &'a [&'a str],
}

/// The processes that serve. Dropping it ends those that still run.
pub(crate) struct Roles {
    example: PathBuf,
    folder: PathBuf,
    pub(crate) processes: Processes,
    is_foreign: bool,
}

impl Roles {
    /// Starts all but the shop; what they say and report goes into the folder. With `foreign`, that program does the confirmations, and writes
    /// its report to its standard output.
    pub(crate) fn start(
        example: &Path,
        folder: &Path,
        bus: &str,
        lasting: Lasting<'_>,
        foreign: Option<Command>,
    ) -> Result<Self, String> {
        let _none_yet = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut roles = Self {
            example: example.to_owned(),
            folder: folder.to_owned(),
            processes: Processes::new(folder),
            is_foreign: foreign.is_some(),
        };
        roles.spawn("endpoint", &["--listen", "127.0.0.1:0"])?;
        let callback = roles.processes.says("endpoint", "listening on ", STARTS_WITHIN)?;
        for (name, more) in SERVING.into_iter().filter(|(name, _)| *name != CONFIRMATION || foreign.is_none())
        {
            let mut args = vec!["--bus", bus];
            args.extend(more);
            let kept = if name == "coordinator" {
                args.extend(["--callback", &callback]);
                lasting.log.map(|log| ["--log", log])
            } else {
                lasting.books.map(|books| ["--books", books])
            };
            args.extend(kept.into_iter().flatten());
            roles.spawn(name, &args)?;
            if lasting.twice.contains(&name) {
                roles.spawn_as(&format!("{name}-2"), name, &args)?;
            }
        }
        if let Some(command) = foreign {
            roles.processes.start(CONFIRMATION, command)?;
        }
        Ok(roles)
    }

    /// Where a role writes its report.
    pub(crate) fn report(&self, role: &str) -> String {
        self.folder.join(format!("{role}.json")).to_string_lossy().into_owned()
    }

    /// Starts one role more.
    pub(crate) fn spawn(&mut self, role: &str, more: &[&str]) -> Result<(), String> {
        self.spawn_as(role, role, more)
    }

    /// Starts one role more, under another name.
    pub(crate) fn spawn_as(&mut self, name: &str, role: &str, more: &[&str]) -> Result<(), String> {
        let mut command = program(&self.example, ["--role", role, "--report", &self.report(name)]);
        command.args(more);
        self.processes.start(name, command)
    }

    /// Asks all to stop and compares their reports with those of these shops.
    pub(crate) fn stop_and_check(mut self, shops: &[&str]) -> Result<(), String> {
        let mut reports = vec!["--check-reports".to_owned()];
        reports.extend(shops.iter().map(|shop| self.report(shop)));
        // The endpoint last: the others may still call it.
        for role in self.processes.names().iter().rev() {
            let said = self.processes.stop(role)?;
            let report = self.report(role);
            if self.is_foreign && role == CONFIRMATION {
                fs::write(&report, said).map_err(|error| format!("{report}: {error}"))?;
            }
            reports.push(report);
        }
        run(program(&self.example, reports))
    }
}
