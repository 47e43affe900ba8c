//! The shopping-cart checkout: one action, *finish purchase*, fans out into four sub-cases that run in parallel, each on its own
//! topic. When all four have succeeded, an HTTP endpoint receives a POST; when one fails, what the others did is undone.
//!
//! ```text
//! cargo run --example checkout
//! cargo run --example checkout -- --fail payment
//! cargo run --example checkout -- --help
//! cargo run --example checkout --features nats -- --bus nats://localhost:4222
//! ```
//!
//! Over a broker each part can run in a process of its own, by `--role`; the README has the commands. Log, inboxes and books are in
//! memory unless `--log` and `--books` name a database: then any number of processes of a role run side by side, and what they did outlives
//! them.
//!
//! Read first `checkout.rs`, the definition of the saga, then `payment.rs`, one of its four sub-cases, then `sub_case.rs`, which makes a
//! service of it, then `run.rs`, which puts everything together. The rest serves the demonstration: trouble on purpose,
//! books and their check, orders from a file.

mod args;
mod books;
mod bus;
mod callback;
mod checkout;
mod confirmation;
mod desk;
mod endpoint;
mod history;
mod inventory;
mod latency;
mod lines;
mod news;
mod order;
mod payment;
mod progress;
mod report;
mod roles;
mod run;
mod shop;
mod show;
mod sub_case;
mod tally;
#[cfg(test)]
mod tests;
mod trouble;
mod verdict;

use std::io;
use std::process::exit;

use args::{Args, HELP, Source};
use lines::Lines;
use show::Screen;

#[tokio::main]
async fn main() {
    let code = match Args::parse(std::env::args_os().skip(1)) {
        Ok(Some(args)) => start(args).await,
        Ok(None) => {
            Screen::stdout(false).line(HELP);
            0
        }
        Err(error) => wrong(&error),
    };
    // Not by returning: a thread that waits for standard input cannot be told to stop.
    exit(code)
}

async fn start(args: Args) -> i32 {
    if !args.check.is_empty() {
        return check(&args.check).await;
    }
    let lines = match open(&args.source).await {
        Ok(lines) => lines,
        Err(error) => return wrong(&format_args!("--orders: the file cannot be opened: {error}")),
    };
    let screen = Screen::stdout(args.source == Source::Demonstration);
    let ran = match args.role {
        None => run::run(args, lines, screen, interrupted()).await,
        Some(role) => roles::run(role, args, lines, screen, interrupted()).await,
    };
    match ran {
        Ok(is_right) => i32::from(!is_right),
        Err(error) => {
            eprintln!("checkout: {error}");
            1
        }
    }
}

/// Compares what the processes of a run have reported.
async fn check(reports: &[std::path::PathBuf]) -> i32 {
    match report::check(reports).await {
        Ok(faults) if faults.is_empty() => {
            println!("the books are right: once each for a completed order, nothing for any other");
            0
        }
        Ok(faults) => {
            faults.iter().for_each(|fault| println!("wrong: {fault}"));
            1
        }
        Err(error) => wrong(&error),
    }
}

/// Resolves when the user, or whoever runs the process, asks it to end.
async fn interrupted() {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        // Where there is no such signal it never comes.
        asked = tokio::signal::ctrl_c() => if asked.is_err() { std::future::pending().await },
        () = terminated => {}
    }
}

async fn open(source: &Source) -> io::Result<Lines> {
    match source {
        Source::Demonstration => Ok(Lines::new(order::DEMONSTRATION.as_bytes())),
        Source::Stdin => Ok(Lines::stdin()),
        Source::File(path) => Lines::open(path).await,
    }
}

fn wrong(error: &dyn std::fmt::Display) -> i32 {
    eprintln!("checkout: {error}\nTry --help.");
    2
}
