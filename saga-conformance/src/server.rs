//! Hands on the broker's process, for the faults.

use std::process::Stdio;

use tokio::process::Command;

/// The variable that holds the command which works on servers.
const COMMAND: &str = "SAGA_SERVERS";

/// The broker's process.
#[derive(Clone, Debug)]
pub struct Server {
    command: Vec<String>,
    name: String,
}

impl Server {
    /// The server of this name, if there is a command that works on it.
    pub fn from_env(name: &str) -> Option<Self> {
        let command = std::env::var(COMMAND).ok()?;
        let command = command.split_whitespace().map(str::to_owned).collect();
        Some(Self { command, name: name.to_owned() })
    }

    /// Ends the process at once.
    ///
    /// # Errors
    /// When the command cannot be run or fails.
    pub async fn kill(&self) -> Result<(), String> {
        self.run("kill").await
    }

    /// Starts it again, with what it kept, and waits until it answers.
    ///
    /// # Errors
    /// When the command cannot be run or fails.
    pub async fn start(&self) -> Result<(), String> {
        self.run("start").await
    }

    /// Stops the process in its tracks.
    ///
    /// # Errors
    /// When the command cannot be run or fails.
    pub async fn pause(&self) -> Result<(), String> {
        self.run("pause").await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the command cannot be run or fails.
    pub async fn resume(&self) -> Result<(), String> {
        self.run("resume").await
    }

    /// Keeps a copy of its data, in the place of an earlier one. To be done while it does not run.
    ///
    /// # Errors
    /// When the command cannot be run or fails, as it does for servers whose data it does not know.
    pub async fn save(&self) -> Result<(), String> {
        self.run("save").await
    }

    /// Puts the copy in the place of its data. To be done while it does not run.
    ///
    /// # Errors
    /// When the command cannot be run or fails, as it does where there is no copy.
    pub async fn restore(&self) -> Result<(), String> {
        self.run("restore").await
    }

    async fn run(&self, verb: &str) -> Result<(), String> {
        let (program, args) = self.command.split_first().ok_or_else(|| format!("{COMMAND} is empty"))?;
        let output = Command::new(program)
            .args(args)
            .args([verb, &self.name])
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| format!("{COMMAND} {verb} {} cannot be run: {error}", self.name))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{COMMAND} {verb} {} failed: {}", self.name, said.trim()))
        }
    }
}
