//! Benchmarks, run by `cargo xtask bench`. Each prints a table and, as its last line, the same as JSON.

mod asleep;
mod core;
mod durable;
mod load;
mod process;
mod restart;
mod several;
mod store;

use std::process::ExitCode;

/// What a service with this load would use: messages are made on one thread and freed on another, at which the system's allocator is slow.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["core", "memory"] => core::run(&core::MEMORY),
        ["core", "throughput"] => core::run(&core::THROUGHPUT),
        ["core", part] => core::part(part),
        ["log", url] => durable::run(url),
        ["coordinators", url] => several::run(url),
        ["restart", url, sagas] if sagas.parse::<u64>().is_ok() => {
            restart::run(url, sagas.parse().expect("just tried"));
        }
        ["restart", url, sagas, part] => restart::part(url, sagas.parse().expect("a number of sagas"), part),
        ref other => {
            eprintln!(
                "usage: saga-bench core memory|throughput, saga-bench log|coordinators URL, or saga-bench restart URL SAGAS\n\
                 {other:?} is not a benchmark"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
