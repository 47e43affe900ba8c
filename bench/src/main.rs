//! Benchmarks, run by `cargo xtask bench`. Each prints a table and, as its last line, the same as JSON.

mod core;
mod load;
mod process;

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().nth(1);
    match name.as_deref() {
        Some("core") => core::run(),
        other => {
            eprintln!("usage: cargo xtask bench core\n{} is not a benchmark", other.unwrap_or("(nothing)"));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
