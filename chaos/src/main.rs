//! Chaos: sagas on a real broker and in a real database, in several processes, while processes, connections and servers die. Afterwards the
//! participants' own books say whether anything was done twice, half, or not at all.
//!
//! `saga-chaos run` supervises; it starts the other roles, each in a process of its own, from this same program. `saga-chaos crash` does so
//! for one process after another that dies at a given point.

mod appending;
mod args;
mod books;
mod coordinator;
mod crash;
mod everybody;
mod faults;
mod forget;
mod gate;
mod gated;
mod job;
mod judge;
mod load;
mod mutant;
mod participant;
mod process;
mod run;
mod takeover;

use std::process::ExitCode;

use args::{Args, Role};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    if !matches!(args.role, Role::Run | Role::Crash) {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing_level()).init();
    }
    let ended = match args.role {
        Role::Run => run::run(&args).await,
        Role::Coordinator => coordinator::run(&args).await.map(|()| true),
        Role::Crash => crash::run(&args).await,
        Role::Everybody => everybody::run(&args).await.map(|()| true),
        Role::Participant => participant::run(&args).await.map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What goes wrong while everything is broken on purpose is told at `info` only to whoever asks.
fn tracing_level() -> tracing_subscriber::filter::LevelFilter {
    let asked = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    asked.unwrap_or(tracing_subscriber::filter::LevelFilter::WARN)
}
