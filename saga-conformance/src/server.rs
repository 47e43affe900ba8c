//! Hands on the broker's process, for the faults.

use std::process::Stdio;

use tokio::process::Command;

use crate::check::{Check, Stop};

/// The variable that holds the command which works on servers.
const COMMAND: &str = "SAGA_SERVERS";

/// The variable that names the server, if it is not the one with the name of the bus.
const NAME: &str = "SAGA_SERVER";

/// The broker's process.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    command: Vec<String>,
    name: String,
}

impl Server {
    /// The server of this name, if there is a command that works on it.
    pub(crate) fn from_env(name: &str) -> Option<Self> {
        let command = std::env::var(COMMAND).ok()?;
        let command = command.split_whitespace().map(str::to_owned).collect();
        let name = std::env::var(NAME).unwrap_or_else(|_| name.to_owned());
        Some(Self { command, name })
    }

    /// Ends the process at once.
    pub(crate) async fn kill(&self) -> Check {
        self.run("kill").await
    }

    /// Starts it again, with what it kept, and waits until it answers.
    pub(crate) async fn start(&self) -> Check {
        self.run("start").await
    }

    /// Stops the process in its tracks.
    pub(crate) async fn pause(&self) -> Check {
        self.run("pause").await
    }

    /// Lets it go on.
    pub(crate) async fn resume(&self) -> Check {
        self.run("resume").await
    }

    async fn run(&self, verb: &str) -> Check {
        let (program, args) =
            self.command.split_first().ok_or_else(|| Stop::failed(format!("{COMMAND} is empty")))?;
        let output = Command::new(program)
            .args(args)
            .args([verb, &self.name])
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| {
                Stop::failed(format!("{COMMAND} {verb} {} cannot be run: {error}", self.name))
            })?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{COMMAND} {verb} {} failed: {}", self.name, said.trim());
        Ok(())
    }
}
