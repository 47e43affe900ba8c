//! Benchmarks, run by `cargo xtask bench`. Each prints a table and, as its last line, the same as JSON.

mod asleep;
mod broker;
mod bus;
mod cells;
mod compare;
mod core;
#[cfg(feature = "allocations")]
mod costs;
mod durable;
mod effort;
mod load;
mod process;
mod raw;
mod report;
mod restart;
mod several;
mod sides;
mod soak;
mod spread;
mod steno;
mod store;

use std::process::ExitCode;

use crate::broker::Broker;
use crate::effort::Effort;
use crate::sides::{Ground, Side};

/// What a service with this load would use: messages are made on one thread and freed on another, at which the system's allocator is slow.
#[cfg(all(feature = "mimalloc", not(feature = "allocations")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["core", "memory"] => core::run(&core::MEMORY),
        ["core", "throughput"] => core::run(&core::THROUGHPUT),
        ["core", "fan-out"] => core::run(&core::FAN_OUT),
        #[cfg(feature = "allocations")]
        ["core", "costs"] => costs::run(),
        #[cfg(not(feature = "allocations"))]
        ["core", "costs"] => {
            eprintln!("what a saga costs is counted by the feature `allocations`");
            return ExitCode::from(2);
        }
        ["core", part] => core::part(part),
        ["log", url] => durable::run(url),
        ["steno", url] => steno::run(url),
        ["coordinators", url] => several::run(url),
        ["soak", url, minutes] if minutes.parse::<u64>().is_ok_and(|minutes| minutes > 0) => {
            soak::run(url, minutes.parse().expect("just tried"));
        }
        ["restart", url, sagas] if sagas.parse::<u64>().is_ok() => {
            restart::run(url, sagas.parse().expect("just tried"));
        }
        ["report", results, docs] => {
            if let Err(why) = report::run(results.as_ref(), docs.as_ref()) {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
        ["restart", url, sagas, part] => restart::part(url, sagas.parse().expect("a number of sagas"), part),
        ref other => {
            if !over_a_broker(other) {
                eprintln!("{USAGE}\n{other:?} is not a benchmark");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}

const USAGE: &str = "\
usage: saga-bench core memory|throughput|fan-out|costs
       saga-bench log|coordinators URL
       saga-bench steno memory:|sqlite:FILE
       saga-bench restart URL SAGAS
       saga-bench soak URL|memory: MINUTES
       saga-bench rawsaga BUS_URL [grid] [quick]
       saga-bench saga|compare BUS_URL LOG_URL [grid] [quick]
       saga-bench bus BUS_URL [quick]
       saga-bench report RESULTS DOCS

A BUS_URL begins with kafka://, amqp:// or nats://; a LOG_URL with sqlite: or postgres://, or it is memory:.";

/// Returns whether there is such a benchmark.
fn over_a_broker(args: &[&str]) -> bool {
    let (args, is_quick) = last(args, "quick");
    let (args, is_grid) = last(args, "grid");
    let effort = match (is_quick, is_grid) {
        (true, _) => Effort::QUICK,
        (false, true) => Effort::GRID,
        (false, false) => Effort::FULL,
    };
    let Some((bus_url, broker)) = args.get(1).and_then(|url| Some((*url, Broker::of(url)?))) else {
        return false;
    };
    let measure = |log_url: Option<&str>, sides: &[Side]| {
        let (bus_url, log_url) = (bus_url.to_owned(), log_url.map(str::to_owned));
        compare::run(&Ground { broker, bus_url, log_url }, sides, is_grid, effort);
    };
    match args {
        ["rawsaga", _] => measure(None, &[Side::Raw]),
        ["saga", _, log_url] => measure(Some(log_url), &[Side::Ours]),
        ["compare", _, log_url] => measure(Some(log_url), &[Side::Raw, Side::Ours]),
        ["bus", _] if !is_grid => bus::run(broker, bus_url, effort),
        _ => return false,
    }
    true
}

/// The arguments without this one at their end, and whether it was there.
fn last<'a, 'b>(args: &'a [&'b str], name: &str) -> (&'a [&'b str], bool) {
    match args {
        [args @ .., last] if *last == name => (args, true),
        args => (args, false),
    }
}
