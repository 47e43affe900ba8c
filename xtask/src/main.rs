//! The project's own commands. `cargo xtask` lists them.

mod bench;
mod built;
mod chaos;
mod checkout;
mod command;
mod conformance;
mod crash;
mod fuzz;
mod model;
mod processes;
mod servers;
mod simulation;
mod source_mutants;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    if fuzz::is_compiler() {
        return fuzz::compile();
    }
    if let Err(problem) = command::ourselves() {
        eprintln!("{problem}");
        return ExitCode::FAILURE;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] | ["help" | "-h" | "--help"] => {
            println!("{}", usage());
            return ExitCode::SUCCESS;
        }
        ["test", stages @ ..] => match test::chosen(stages) {
            Ok(stages) => test::run(&stages),
            Err(problem) => return misused(&problem),
        },
        ["conformance", words @ ..] => match conformance::chosen(words) {
            Ok((buses, cases)) => conformance::run(&buses, &cases).map(|table| table.is_good()),
            Err(problem) => return misused(&problem),
        },
        ["checkout", words @ ..] => match checkout::chosen(words) {
            Ok(plan) => run_checkout(&plan),
            Err(problem) => return misused(&problem),
        },
        ["chaos", words @ ..] => match chaos::chosen(words) {
            Ok(plan) => chaos::run(&plan),
            Err(problem) => return misused(&problem),
        },
        ["crash", words @ ..] => match crash::chosen(words) {
            Ok(plan) => crash::run(&plan),
            Err(problem) => return misused(&problem),
        },
        ["model", args @ ..] => model::check(args),
        ["sim", args @ ..] => simulation::simulate(args),
        ["mutants"] => simulation::mutants(),
        ["mutants", "--source", areas @ ..] => match source_mutants::chosen(areas) {
            Ok(areas) => source_mutants::run(&areas),
            Err(problem) => return misused(&problem),
        },
        ["fuzz", words @ ..] => match fuzz::chosen(words) {
            Ok(plan) => fuzz::run(&plan),
            Err(problem) => return misused(&problem),
        },
        ["servers", args @ ..] => servers(args),
        ["bench", words @ ..] => match bench::chosen(words) {
            Ok(plan) => bench::measure(&plan),
            Err(problem) => return misused(&problem),
        },
        [other, ..] => return misused(&format!("there is no command {other:?}")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run_checkout(plan: &checkout::Plan) -> Result<bool, String> {
    let mut lines = Vec::new();
    let mut is_right = true;
    checkout::run(plan, |name, result| {
        is_right &= result.is_ok();
        lines.push(format!("{name}: {}", result.err().as_deref().unwrap_or("right")));
    })?;
    println!("\n{}", lines.join("\n"));
    Ok(is_right)
}

fn servers(args: &[&str]) -> Result<bool, String> {
    if let [] | ["help" | "-h" | "--help"] = args {
        println!("{}", servers::USAGE);
        return Ok(true);
    }
    servers::run(&workspace::target_directory()?, args)
}

fn misused(problem: &str) -> ExitCode {
    eprintln!("{problem}\n\n{}", usage());
    ExitCode::from(2)
}

fn usage() -> String {
    let stages: String =
        test::STAGES.iter().map(|stage| format!("  {:<14}{}\n", stage.name, stage.what)).collect();
    let (chaos, crash) = (chaos::USAGE, crash::USAGE);
    let buses: Vec<_> = conformance::BUSES.iter().map(|bus| bus.name).collect();
    let buses = buses.join(", ");
    format!(
        "Usage: cargo xtask test [STAGE...]\n\n\
         Runs everything that must pass, or only the stages named, and goes on after a failure. Installs the\n\
         cargo tools it needs. Closes with `N passed, N failed`: test cases, and one for each other stage.\n\n\
         Stages:\n{stages}\n\
         Usage: cargo xtask conformance [BUS...] [--all-versions] [-- CASE...]\n\n\
         Runs the conformance suite on {buses}, or only on the buses named, and only the cases\n\
         whose numbers or parts of names are given. With --all-versions also on the oldest servers that the adapters work with.\n\
         Starts the servers it needs, prints a table and writes it as JSON.\n\n\
         Usage: cargo xtask checkout [kafka|rabbit|nats...] [--orders N] [--release]\n\n\
         Runs the checkout over these brokers, in one process and in seven, undisturbed and with the broker killed and\n\
         started in the middle; every 10th of the {orders} orders, {orders_in_roles} in seven, is refused by payment. Starts the servers it needs.\n\n\
         {servers}\n\n\
         {chaos}\n\n\
         {crash}\n\n\
         Usage: cargo xtask model [--steps N | --quick | NAME...]\n\n\
         Explores every state of sagas of up to three steps, or of N, on the real machine and the real barrier, whatever is lost,\n\
         doubled, late or dead meanwhile; and tells the way to every law that is broken.\n\n\
         Usage: cargo xtask sim [--quick | --seeds N [--first SEED]]\n\
         \x20      cargo xtask sim --seed SEED [--only FAULTS/SAGAS] [--trace]\n\n\
         Simulates the real coordinators and participants under seeded faults, 10,000 seeds if not told otherwise; shows how often each\n\
         fault and each state was reached; and tells the least that a failing seed needs. With --seed, what happens in that one.\n\n\
         Usage: cargo xtask mutants\n\n\
         Breaks one rule of the design after the other, and shows by which law of the model, of the simulation, or of both each is\n\
         caught, and after how many states or seeds.\n\n\
         {source_mutants}\n\n\
         {fuzz}\n\n\
         {bench}\n",
        bench = bench::USAGE,
        orders = checkout::ORDERS,
        orders_in_roles = checkout::ORDERS_IN_ROLES,
        fuzz = fuzz::USAGE,
        servers = servers::USAGE,
        source_mutants = source_mutants::USAGE
    )
}
