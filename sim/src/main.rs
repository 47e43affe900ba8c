//! The deterministic simulation: the real coordinators and participants, on one thread and under simulated time, whatever is lost, doubled, late,
//! cut off, standing still or dead meanwhile. `cargo xtask sim` and `cargo xtask mutants` run it.

mod bus;
mod callback;
mod chance;
mod check;
mod clock;
mod coverage;
mod definitions;
mod driver;
mod handlers;
mod inbox;
mod keeper;
mod laws;
mod ledger;
mod log;
mod mutants;
mod operator;
mod plan;
mod process;
mod run;
mod sights;
mod trace;
mod world;

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().collect();
    let first: u64 = args[1].parse().unwrap();
    let count: u64 = args[2].parse().unwrap();
    let mut cov = coverage::Coverage::default();
    let begun = std::time::Instant::now();
    for seed in first..first + count {
        let plan = plan::draw(seed);
        let wanted = if args.len() > 3 { trace::Wanted::Lines } else { trace::Wanted::Nothing };
        let ran = run::run(&plan, None, wanted);
        for l in &ran.lines {
            println!("{l}");
        }
        cov.add(&ran.coverage);
        if let Some(b) = &ran.broken {
            println!("seed {seed}: {b}");
        }
    }
    for (what, n) in cov.table() {
        println!("{n:>10} × {what}");
    }
    println!("{:?}", begun.elapsed());
}
