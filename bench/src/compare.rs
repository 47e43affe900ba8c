//! `bench saga|rawsaga|compare`: sagas over a real broker, by this library and by the broker's own client, in turns.

use serde_json::{Value, json};

use crate::cells::{Cell, STEPS_IN_FLIGHT_MAX};
use crate::durable::{probe, runtime};
use crate::effort::Effort;
use crate::sides::{Ground, Measured, Side};
use crate::spread::Spread;

/// Measures these sides, each in its turn: sagas of four steps, or a grid of one step to many.
pub(crate) fn run(ground: &Ground, sides: &[Side], is_grid: bool, effort: Effort) {
    runtime().block_on(measure(ground, sides, is_grid, effort));
}

async fn measure(ground: &Ground, sides: &[Side], is_grid: bool, effort: Effort) {
    let Effort { rounds, time, .. } = effort;
    println!(
        "saga-rs {}; {}; sagas of parallel steps of 300 B; all but the servers in this process; runs of {time:?} after a warm-up, \
         {rounds} for each figure",
        env!("CARGO_PKG_VERSION"),
        ground.broker.name()
    );
    if is_grid {
        println!(
            "left out: more than {STEPS_IN_FLIGHT_MAX} steps in flight, where a run would end before a saga does"
        );
    }
    let mut promises = Vec::new();
    for side in sides {
        promises.push(ground.promise(*side).await);
    }
    let mut nth = 0;
    let mut parts = Vec::new();
    for cell in if is_grid { Cell::grid() } else { Cell::usual() } {
        let before = probe();
        let mut runs: Vec<Vec<Measured>> = sides.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            for (side, runs) in sides.iter().zip(&mut runs) {
                eprint!("\r{cell}, round {round} of {rounds}: {:<10}", side.name());
                nth += 1;
                runs.push(ground.run(*side, cell, nth, time).await);
            }
        }
        eprint!("\r{:70}\r", "");
        let after = probe();
        let mut part = shown(cell, sides, &promises, &runs);
        println!("      fdatasync, p50 of 100: {before:.1?} before, {after:.1?} after");
        part["fdatasync_us"] = json!([before.as_micros() as u64, after.as_micros() as u64]);
        parts.push(part);
    }
    let sides: Vec<Value> = sides
        .iter()
        .zip(&promises)
        .map(|(side, promise)| json!({ "side": side.name(), "promise": promise }))
        .collect();
    println!(
        "{}",
        json!({ "benchmark": "compare", "bus": ground.broker.name(), "grid": is_grid, "rounds": rounds, "seconds": time.as_secs_f64(),
                "sides": sides, "parts": parts })
    );
}

/// Prints the lines of one cell, and returns them.
fn shown(cell: Cell, sides: &[Side], promises: &[String], runs: &[Vec<Measured>]) -> Value {
    let lines: Vec<Value> = sides
        .iter()
        .zip(promises)
        .zip(runs)
        .map(|((side, promise), runs)| line(cell, *side, promise, runs))
        .collect();
    let mut part = json!({ "in_flight": cell.in_flight, "steps": cell.steps, "lines": lines });
    let raw = sides.iter().position(|side| *side == Side::Raw);
    let ours = sides.iter().position(|side| *side == Side::Ours);
    if let Some((raw, ours)) = raw.zip(ours) {
        let of_each = |figure: fn(&Measured) -> f64| {
            Spread::of(runs[ours].iter().zip(&runs[raw]).map(|(ours, raw)| figure(ours) / figure(raw)))
        };
        let rate = of_each(|it| it.run.per_second);
        let p99 = of_each(|it| it.run.p99.as_secs_f64());
        let cpu = of_each(|it| it.run.cpu_us);
        println!(
            "{cell} ours ÷ raw, of neighbours: sagas/s {rate:.2}, p99 {p99:.2}, CPU in this process {cpu:.2}"
        );
        part["ratio"] = json!({ "sagas_per_second": rate.json(), "p99": p99.json(), "cpu": cpu.json() });
    }
    part
}

fn line(cell: Cell, side: Side, promise: &str, runs: &[Measured]) -> Value {
    let of = |figure: fn(&Measured) -> f64| Spread::of(runs.iter().map(figure));
    let told = |figure: fn(&Measured) -> Option<f64>| {
        let told: Vec<f64> = runs.iter().filter_map(figure).collect();
        (!told.is_empty()).then(|| Spread::of(told))
    };
    let rate = of(|it| it.run.per_second);
    let p50 = of(|it| it.run.p50.as_secs_f64() * 1e3);
    let p99 = of(|it| it.run.p99.as_secs_f64() * 1e3);
    let cpu = of(|it| it.run.cpu_us);
    let (broker, log) = (told(|it| it.broker_us), told(|it| it.log_us));
    let (syncs, messages) = (told(|it| it.syncs), told(|it| it.messages));
    let median = |spread: &Option<Spread>, unit: &str, what: &str| {
        spread
            .as_ref()
            .map(|spread| format!(", {:.*}{unit} {what}", usize::from(unit.is_empty()) * 3, spread.median))
    };
    let more = [
        median(&broker, " µs", "in the broker"),
        median(&log, " µs", "in the log's server"),
        median(&syncs, "", "syncs of the log a saga"),
        median(&messages, "", "messages a saga"),
    ];
    println!(
        "{cell} {:<8} {rate:.0} sagas/s, p50 {p50:.1} ms, p99 {p99:.1} ms, CPU a saga {cpu:.0} µs in this process{} | {promise}",
        side.name(),
        more.into_iter().flatten().collect::<String>()
    );
    let json = |spread: Option<Spread>| spread.map(|spread| spread.json());
    json!({ "side": side.name(), "sagas_per_second": rate.json(), "p50_ms": p50.json(), "p99_ms": p99.json(), "cpu_us": cpu.json(),
            "broker_cpu_us": json(broker), "log_cpu_us": json(log), "syncs_per_saga": json(syncs),
            "messages_per_saga": json(messages) })
}
