#![doc = include_str!("../README.md")]

mod ask;
mod audit;
mod change;
mod cli;
mod dlq;
mod fail;
mod list;
mod out;
mod show;
mod table;
mod time;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use fail::Failure;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("saga: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { place, command } = cli;
    match command {
        Command::List(wanted) => list::run(&place, wanted).await,
        Command::Show(wanted) => show::run(&place, wanted).await,
        Command::Retry(wanted) => change::retry(&place, wanted).await,
        Command::Resolve(wanted) => change::resolve(&place, wanted).await,
        Command::Cancel(wanted) => change::cancel(&place, wanted).await,
        Command::Abandon(wanted) => change::abandon(&place, wanted).await,
        Command::Audit { key, limit } => audit::run(&place, key, limit).await,
        Command::Dlq { command } => dlq::run(&place, command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "saga", &mut script);
            out::print(script)
        }
    }
}
