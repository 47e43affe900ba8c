//! The checkout over real brokers, also while the broker is killed and started again.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::{Cases, Context, Outcome};
use crate::command::{cargo, output, program, run, run_lines};
use crate::servers;

const BROKERS: [(&str, &str); 3] =
    [("kafka", "SAGA_KAFKA_URL"), ("rabbit", "SAGA_RABBIT_URL"), ("nats", "SAGA_NATS_URL")];
/// Enough that many are left after the first word of progress, which comes after three seconds.
const ORDERS: u32 = 3_000;

pub(super) fn check(context: &Context) -> Outcome {
    let target = &context.workspace.target_directory;
    let names = BROKERS.map(|(name, _)| name);
    let checked = servers::up(target, &names).and_then(|variables| check_all(target, &variables));
    match (checked, servers::down(target, &names)) {
        (Ok(cases), Ok(())) => Outcome::Cases(cases),
        (Err(why), _) | (_, Err(why)) => Outcome::Failed(why),
    }
}

fn check_all(target: &Path, variables: &[(String, String)]) -> Result<Cases, String> {
    let orders = target.join("orders.jsonl");
    std::fs::write(&orders, lines()).map_err(|error| format!("{}: {error}", orders.display()))?;
    run(cargo(["build", "-p", "checkout", "--example", "checkout", "--features", "kafka,rabbit,nats"]))?;
    let example = target.join("debug/examples/checkout");
    let mut cases = Cases::default();
    for (name, variable) in BROKERS {
        let found = variables.iter().find(|(found, _)| found == variable);
        let (_, url) = found.ok_or_else(|| format!("{variable} is not known"))?;
        for is_restarted in [false, true] {
            let bus = format!("{url}?prefix=check-{is_restarted}.");
            let args = ["--bus", &bus, "--fail", "payment:10", "--orders", &orders.to_string_lossy()];
            let case = if is_restarted { format!("{name}, restarted") } else { name.to_owned() };
            cases.count(&case, check_one(program(&example, args), name, is_restarted));
        }
    }
    Ok(cases)
}

/// The example checks its own books, and says by its exit code whether all is right.
fn check_one(checkout: Command, broker: &str, is_restarted: bool) -> Result<(), String> {
    if !is_restarted {
        return run(checkout);
    }
    let mut restarting = None;
    let is_right = run_lines(checkout, |line| {
        println!("{line}");
        // Its first word of progress: it is in the middle of the orders.
        if restarting.is_none() && line.contains(" orders: ") {
            let broker = broker.to_owned();
            restarting = Some(thread::spawn(move || restart(&broker)));
        }
    })?;
    let restarting = restarting.ok_or("the orders ended before the broker was restarted: more are needed")?;
    restarting.join().unwrap_or_else(|_| Err("restarting the broker panicked".to_owned()))?;
    if is_right {
        Ok(())
    } else {
        Err(format!("the checkout over {broker}, restarted meanwhile, did not come out right"))
    }
}

fn restart(broker: &str) -> Result<(), String> {
    for verb in ["kill", "start"] {
        output(this(["servers", verb, broker])?)?;
    }
    Ok(())
}

/// This very program, with other arguments.
fn this(args: [&str; 3]) -> Result<Command, String> {
    let path = std::env::current_exe()
        .map_err(|error| format!("this program does not know its own place: {error}"))?;
    Ok(program(&path, args))
}

fn lines() -> String {
    (0..ORDERS).fold(String::new(), |mut lines, n| {
        let _infallible = writeln!(
            lines,
            r#"{{"event":"order-placed","order_id":"{n}","customer_id":"c{n}","items":[{{"product_id":"p{:03}","quantity":1}}]}}"#,
            n % 50
        );
        lines
    })
}
