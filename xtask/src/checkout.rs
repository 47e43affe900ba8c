//! `cargo xtask checkout`: the checkout over real brokers, in one process and in seven, also while the broker is killed and started again.

pub(crate) mod roles;

use std::fmt::Write;
use std::path::Path;
use std::thread::{self, JoinHandle};

use self::roles::{Lasting, Roles};
use crate::built;
use crate::command::{ourselves, output, program, run_lines};
use crate::servers;

/// The brokers, by the names of their servers, which are those of the features, too.
pub(crate) const BROKERS: [(&str, &str); 3] =
    [("kafka", "SAGA_KAFKA_URL"), ("rabbit", "SAGA_RABBIT_URL"), ("nats", "SAGA_NATS_URL")];
/// Enough that many are left after the first word of progress, which comes after three seconds.
pub(crate) const ORDERS: u32 = 3_000;
/// Seven processes are slower.
pub(crate) const ORDERS_IN_ROLES: u32 = 1_000;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    brokers: Vec<(&'static str, &'static str)>,
    /// In one process, and in seven.
    orders: [u32; 2],
    is_release: bool,
    /// In one process and in seven, and whether the broker is restarted.
    modes: Vec<(bool, bool)>,
}

/// All of them.
const MODES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

impl Plan {
    /// On all brokers, which are restarted: whatever goes wrong undisturbed goes wrong there, too.
    pub(crate) fn disturbed() -> Self {
        let modes = MODES.into_iter().filter(|(_, is_restarted)| *is_restarted).collect();
        Self { brokers: BROKERS.to_vec(), orders: [ORDERS, ORDERS_IN_ROLES], is_release: false, modes }
    }
}

/// Reads `[BROKER...] [--orders N] [--release]`.
pub(crate) fn chosen(words: &[&str]) -> Result<Plan, String> {
    let mut plan = Plan {
        brokers: Vec::new(),
        orders: [ORDERS, ORDERS_IN_ROLES],
        is_release: false,
        modes: MODES.to_vec(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--orders" {
            let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
            plan.orders = [number.ok_or("--orders takes a number above 0")?; 2];
        } else if *word == "--release" {
            plan.is_release = true;
        } else {
            let broker = BROKERS.iter().find(|(name, _)| name == word);
            plan.brokers.push(*broker.ok_or_else(|| format!("there is no broker {word:?}"))?);
        }
    }
    if plan.brokers.is_empty() {
        plan.brokers = BROKERS.to_vec();
    }
    Ok(plan)
}

/// One run of the checkout.
#[derive(Clone, Copy)]
struct Trial<'a> {
    broker: &'a str,
    url: &'a str,
    in_roles: bool,
    is_restarted: bool,
    example: &'a Path,
    orders: &'a Path,
}

/// Starts the brokers, runs the checkout on each in every way, and stops them. Each run is told to `ended`, with its name.
pub(crate) fn run(plan: &Plan, mut ended: impl FnMut(&str, Result<(), String>)) -> Result<(), String> {
    let target = crate::workspace::target_directory()?;
    let names: Vec<_> = plan.brokers.iter().map(|(name, _)| *name).collect();
    let ran = servers::up(&target, &names).and_then(|variables| {
        let example = built::checkout(plan.is_release)?;
        let orders = target.join("orders.jsonl");
        for (broker, variable) in &plan.brokers {
            let url = servers::value(&variables, variable)?;
            for (in_roles, is_restarted) in plan.modes.iter().copied() {
                let trial = Trial { broker, url, in_roles, is_restarted, example: &example, orders: &orders };
                println!("\n== {} ==", trial.name());
                std::fs::write(&orders, lines(plan.orders[usize::from(in_roles)]))
                    .map_err(|error| format!("{}: {error}", orders.display()))?;
                ended(&trial.name(), trial.run(&target));
            }
        }
        Ok(())
    });
    ran.and(servers::down(&target, &names))
}

impl Trial<'_> {
    fn name(&self) -> String {
        let processes = if self.in_roles { "seven processes" } else { "one process" };
        let restarted = if self.is_restarted { ", the broker restarted in the middle" } else { "" };
        format!("{} in {processes}{restarted}", self.broker)
    }

    /// The example checks its own books, and says by its exit code whether all is right.
    fn run(&self, target: &Path) -> Result<(), String> {
        let bus = format!("{}?prefix=check-{}-{}.", self.url, self.in_roles, self.is_restarted);
        let orders = self.orders.to_string_lossy();
        let what = ["--bus", &bus, "--fail", "payment:10", "--orders", &orders];
        let mut restarting = Restarting::new(self.is_restarted.then_some(self.broker));
        if !self.in_roles {
            let is_right = run_lines(program(self.example, what), |line| restarting.seen(line))?;
            restarting.ended()?;
            return if is_right { Ok(()) } else { Err("the checkout did not come out right".to_owned()) };
        }
        let folder = target.join("checkout").join(self.broker);
        let roles = Roles::start(self.example, &folder, &bus, Lasting::default(), None)?;
        let shop = ["--role", "shop", "--report", &roles.report("shop")];
        let shopped =
            run_lines(program(self.example, [&what[..], &shop].concat()), |line| restarting.seen(line));
        restarting.ended()?;
        if !shopped? {
            return Err(format!("the shop's orders did not end as they should; see {}", folder.display()));
        }
        roles.stop_and_check(&["shop"])
    }
}

/// Kills the broker and starts it again at the first word of progress that tells of an order: then they are under way.
struct Restarting<'a> {
    broker: Option<&'a str>,
    under_way: Option<JoinHandle<Result<(), String>>>,
}

impl<'a> Restarting<'a> {
    const fn new(broker: Option<&'a str>) -> Self {
        Self { broker, under_way: None }
    }

    fn seen(&mut self, line: &str) {
        println!("{line}");
        if let Some(broker) = self.broker
            && self.under_way.is_none()
            && line.contains(" orders: ")
            && !line.starts_with("0 orders")
        {
            let broker = broker.to_owned();
            self.under_way = Some(thread::spawn(move || restart(&broker)));
        }
    }

    fn ended(self) -> Result<(), String> {
        match (self.broker, self.under_way) {
            (None, _) => Ok(()),
            (Some(_), None) => {
                Err("the orders ended before the broker was restarted: more are needed".to_owned())
            }
            (Some(_), Some(restarting)) => {
                restarting.join().unwrap_or_else(|_| Err("restarting the broker panicked".to_owned()))
            }
        }
    }
}

fn restart(broker: &str) -> Result<(), String> {
    // This very program, with other arguments.
    let this = ourselves()?;
    ["kill", "start"].iter().try_for_each(|verb| output(program(&this, ["servers", verb, broker])).map(drop))
}

/// Orders as JSON lines.
pub(crate) fn lines(orders: u32) -> String {
    (0..orders).fold(String::new(), |mut lines, n| {
        let _infallible = writeln!(
            lines,
            r#"{{"event":"order-placed","order_id":"{n}","customer_id":"c{n}","items":[{{"product_id":"p{:03}","quantity":1}}]}}"#,
            n % 50
        );
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_orders_are_chosen() {
        assert_eq!(chosen(&[]).unwrap(), Plan { modes: MODES.to_vec(), ..Plan::disturbed() });
        let plan = chosen(&["nats", "--orders", "10000"]).unwrap();
        assert_eq!((plan.brokers.len(), plan.orders), (1, [10_000; 2]));
        for wrong in [&["natz"][..], &["--orders"], &["--orders", "0"]] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }
}
