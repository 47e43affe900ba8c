//! A process that is killed, paused and started again.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::Failure;

/// One role's process. It ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    words: Vec<String>,
    said: PathBuf,
    child: Child,
}

impl Process {
    /// Starts this very program with these words. What it says goes to a file.
    pub(crate) fn start(name: &str, words: Vec<String>, said: PathBuf) -> Result<Self, Failure> {
        let child = spawn(&words, &said)?;
        Ok(Self { name: name.to_owned(), words, said, child })
    }

    /// Ends it at once, as a crash does.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    pub(crate) fn start_again(&mut self) -> Result<(), Failure> {
        self.child = spawn(&self.words, &self.said)?;
        Ok(())
    }

    /// How it has ended, if it has, though nobody killed it.
    pub(crate) fn ended(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.child.try_wait()?.map(|status| format!("{} ended by itself with {status}", self.name)))
    }

    /// Stops it in its tracks, or lets it go on.
    pub(crate) async fn signal(&self, signal: &str) -> Result<(), Failure> {
        let Some(id) = self.child.id() else { return Ok(()) };
        let status = Command::new("kill").args(["-s", signal, &id.to_string()]).status().await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kill -s {signal} {id} ended with {status}").into())
        }
    }
}

fn spawn(words: &[String], said: &PathBuf) -> Result<Child, Failure> {
    let said = File::options().create(true).append(true).open(said)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).kill_on_drop(true);
    Ok(command.spawn()?)
}
