//! Running many seeds, on as many threads as there are processors, each seed on one; and the tables.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::laws::Broken;
use crate::mutants::{MUTANTS, Mutant};
use crate::plan::{Plan, draw};
use crate::run::{Ran, run};
use crate::shrink::shrink;
use crate::trace::Wanted;
use crate::world::lock;

/// So many failing seeds are shrunk and told; more would say the same.
const TOLD_MAX: usize = 3;

/// What many seeds came to.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    saga_time: Duration,
    simulated: Duration,
    sagas: usize,
    /// The longest that sagas took to end after the healing, in which seed; where the log's clock leapt an hour is waited for.
    healing: (Duration, u64),
    failed: Vec<(u64, Broken)>,
}

impl Total {
    fn add(&mut self, seed: u64, ran: Ran) {
        self.coverage.add(&ran.coverage);
        self.saga_time += ran.saga_time;
        self.simulated += ran.took;
        self.sagas += ran.sagas;
        self.healing = self.healing.max((ran.healing, seed));
        self.failed.extend(ran.broken.map(|broken| (seed, broken)));
    }
}

/// Runs seeds until all are run, or, if asked to, until one has failed. Says how many were run.
fn run_all(first: u64, count: u64, mutant: Option<Mutant>, stops_at_failure: bool) -> (Total, u64) {
    let total = Mutex::new(Total::default());
    let next = AtomicU64::new(first);
    let is_over = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let ran = run(&draw(seed), mutant, Wanted::Nothing);
                    is_over.fetch_or(stops_at_failure && ran.broken.is_some(), Ordering::Relaxed);
                    lock(&total).add(seed, ran);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    total.failed.sort_by_key(|(seed, _)| *seed);
    let ran = total.failed.first().map_or(count, |(seed, _)| seed - first + 1);
    (total, ran)
}

/// Runs seeds, prints the table, and says whether all is well. `is_whole`: everything that can be counted must have been.
pub(crate) fn seeds(first: u64, count: u64, is_whole: bool) -> bool {
    let begun = Instant::now();
    let (total, _) = run_all(first, count, None, false);
    let took = begun.elapsed();
    let table = total.coverage.table();
    for (what, times) in &table {
        println!("{times:>10} × {what}");
    }
    let unseen = table.iter().filter(|(_, times)| *times == 0).count();
    if unseen > 0 {
        let verdict =
            if is_whole { "what nobody has seen was not checked" } else { "too few seeds for all of them" };
        println!("\n{unseen} of {} were reached by nobody: {verdict}", table.len());
    }
    for (seed, broken) in total.failed.iter().take(TOLD_MAX) {
        tell_failure(*seed, broken);
    }
    let hours = |time: Duration| time.as_secs_f64() / 3_600.0;
    println!(
        "\n{count} seeds from {first}, {} sagas, {:.1} simulated hours in {:.1} s: {:.0} seeds and {:.1} simulated saga-hours per second",
        total.sagas,
        hours(total.simulated),
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        hours(total.saga_time) / took.as_secs_f64(),
    );
    let (healing, seed) = total.healing;
    println!(
        "the longest that sagas took to end once nothing went wrong: {:.1} s, in seed {seed}",
        healing.as_secs_f64()
    );
    let failed: Vec<_> = total.failed.iter().map(|(seed, _)| seed.to_string()).collect();
    match failed.len() {
        0 => println!("every law holds"),
        many => println!("{many} FAILED: {}", failed.join(" ")),
    }
    failed.is_empty() && (unseen == 0 || !is_whole)
}

fn tell_failure(seed: u64, broken: &Broken) {
    println!("\nseed {seed} BROKE {broken}");
    let shrunk = shrink(&draw(seed), None, broken.law);
    println!("what is needed for it:\n{}", shrunk.plan);
    println!("again, line by line: cargo xtask sim --seed {seed} --only {} --trace", shrunk.only);
}

/// Runs one plan, and says whether all is well.
pub(crate) fn one(plan: &Plan, is_traced: bool) -> bool {
    let ran = run(plan, None, if is_traced { Wanted::Lines } else { Wanted::Digest });
    print!("{plan}");
    for line in &ran.lines {
        println!("{line}");
    }
    println!("trace {:016x}, {:.3} simulated seconds", ran.digest, ran.took.as_secs_f64());
    match &ran.broken {
        Some(broken) => println!("BROKEN {broken}"),
        None => println!("every law holds"),
    }
    ran.broken.is_none()
}

/// Runs every mutant until a law catches it, at most so many seeds of each; says whether all were caught that only the simulation can catch.
pub(crate) fn mutants(count: u64) -> bool {
    let mut survivors = 0;
    for seeded in MUTANTS {
        let (total, ran) = run_all(0, count, Some(seeded.mutant), true);
        let name = format!("{:?}", seeded.mutant);
        match total.failed.first() {
            Some((_, broken)) => {
                println!("{name}: broken is \"{}\"\n    killed after {ran} seeds by {broken}", seeded.rule);
                println!("VERDICT\t{name}\t{}\tseed {ran}: {}", seeded.rule, broken.law.name());
            }
            None => {
                survivors += u32::from(!seeded.is_of_the_model);
                println!("{name}: broken is \"{}\"\n    SURVIVED {count} seeds", seeded.rule);
                println!("VERDICT\t{name}\t{}\t", seeded.rule);
            }
        }
    }
    println!("\n{} mutants; {survivors} survived that the model does not have", MUTANTS.len());
    survivors == 0
}
