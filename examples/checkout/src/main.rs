//! The shopping-cart checkout: one action, *finish purchase*, fans out into four sub-cases that run in parallel, each on its own
//! topic. When all four have succeeded, an HTTP endpoint receives a POST; when one fails, what the others did is undone.
//!
//! ```text
//! cargo run --example checkout
//! cargo run --example checkout -- --fail payment
//! cargo run --example checkout -- --help
//! ```
//!
//! Read first `shop.rs`, the definition of the saga, then `payment.rs`, one of its four sub-cases, then `run.rs`, which puts a
//! service together. The rest serves the demonstration: trouble on purpose, books and their check, orders from a file.

mod args;
mod books;
mod callback;
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
mod run;
mod shop;
mod show;
mod tally;
#[cfg(test)]
mod tests;
mod transport;
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
    let lines = match open(&args.source).await {
        Ok(lines) => lines,
        Err(error) => return wrong(&format_args!("--orders: the file cannot be opened: {error}")),
    };
    let screen = Screen::stdout(args.source == Source::Demonstration);
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // There is no such signal here, so it never comes.
            std::future::pending::<()>().await;
        }
    };
    match run::run(args, lines, screen, interrupted).await {
        Ok(is_right) => i32::from(!is_right),
        Err(error) => {
            eprintln!("checkout: {error}");
            1
        }
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
