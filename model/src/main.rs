//! The model check: every state that sagas of up to three steps can get into, whatever is lost, doubled, late or dead meanwhile, on the real
//! machine and the real barrier. `cargo xtask model` and `cargo xtask mutants` run it.

mod acts;
mod check;
mod config;
mod configs;
mod coordinator;
mod coverage;
mod definition;
mod fair;
mod laws;
mod model;
mod mutants;
mod participant;
mod play;
mod report;
#[cfg(test)]
mod tests;
mod world;

use std::process::ExitCode;

const USAGE: &str = "usage: saga-model check [--steps N | --quick | NAME...] | mutants";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Panics are findings here, and told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let is_good = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mutants"] => report::mutants(),
        ["check", "--steps", count] => match count.parse() {
            Ok(count) => report::check(&configs::of_steps(count), true),
            Err(_) => return misused(),
        },
        ["check", "--quick"] => report::check(&configs::quick(), true),
        ["check"] => report::check(&configs::of_steps(3), true),
        ["check", ref names @ ..] => {
            match names.iter().map(|name| configs::named(name)).collect::<Option<Vec<_>>>() {
                Some(configs) => report::check(&configs, false),
                None => return misused(),
            }
        }
        _ => return misused(),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
