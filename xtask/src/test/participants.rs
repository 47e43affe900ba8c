//! The checkout as seven processes over each broker, one of them in another language: the participant in Python does the confirmations.

mod processes;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::processes::Processes;
use super::{Cases, Context, Outcome};
use crate::command::{cargo, program, run};
use crate::servers;

const BROKERS: [(&str, &str); 3] =
    [("kafka", "SAGA_KAFKA_URL"), ("rabbit", "SAGA_RABBIT_URL"), ("nats", "SAGA_NATS_URL")];
const ORDERS: u32 = 200;
const PARTICIPANT: &str = "examples/checkout/participant";
/// What `--role` calls those that run until they are stopped, but for the endpoint, which is the first to start and the last to stop.
const ROLES: [&str; 4] = ["coordinator", "inventory", "payment", "history"];
/// An order as somebody types it into a console producer, and what the shop would report of it.
const BARE: &str = r#"{"event":"order-placed","order_id":"bare-1","customer_id":"c","items":[{"product_id":"p003","quantity":2}]}"#;
const BARE_REPORT: &str = r#"{"completed":["bare-1"],"rolled_back":0,"due":{"inventory-check":{"p003":2},"payment-validation":{"cents":2000},
"customer-history-update":{"orders":1},"send-confirmation":{"orders":1}}}"#;
/// How long the orders may take to end, all of them.
const ORDERS_MAX: Duration = Duration::from_secs(240);
const START_MAX: Duration = Duration::from_secs(60);

pub(super) fn check(context: &Context) -> Outcome {
    let target = &context.workspace.target_directory;
    let names = BROKERS.map(|(name, _)| name);
    let checked = prepare(target).and_then(|stand| stand.check_all(&servers::up(target, &names)?));
    match (checked, servers::down(target, &names)) {
        (Ok(cases), Ok(())) => Outcome::Cases(cases),
        (Err(why), _) | (_, Err(why)) => Outcome::Failed(why),
    }
}

/// What is needed for a run over any broker.
struct Stand {
    folder: PathBuf,
    python: PathBuf,
    checkout: PathBuf,
    orders: PathBuf,
}

/// Installs and builds what takes part, and tests what needs no broker.
fn prepare(target: &Path) -> Result<Stand, String> {
    let folder = target.join("participants");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (venv, orders) = (folder.join("venv"), folder.join("orders.jsonl"));
    let python = venv.join("bin/python");
    run(program(Path::new("python3"), ["-m", "venv", &venv.to_string_lossy()]))?;
    let requirements = format!("{PARTICIPANT}/requirements.txt");
    run(program(&python, ["-m", "pip", "install", "--quiet", "--requirement", &requirements]))?;
    let mut tests = program(&python, ["-B", "-m", "unittest", "discover", "--start-directory", PARTICIPANT]);
    tests.args(["--pattern", "test_*.py"]);
    run(tests)?;
    run(cargo(["build", "-p", "checkout", "--example", "checkout", "--features", "kafka,rabbit,nats"]))?;
    write(&orders, &lines())?;
    Ok(Stand { folder, python, checkout: target.join("debug/examples/checkout"), orders })
}

impl Stand {
    fn check_all(&self, variables: &[(String, String)]) -> Result<Cases, String> {
        let mut cases = Cases::default();
        // A server that runs already may have what an earlier run has left.
        let prefix = format!("participants-{}.", std::process::id());
        for (name, variable) in BROKERS {
            let found = variables.iter().find(|(found, _)| found == variable);
            let (_, url) = found.ok_or_else(|| format!("{variable} is not known"))?;
            match self.check_one(name, &format!("{url}?prefix={prefix}")) {
                Ok(()) => cases.passed += 1,
                Err(why) => {
                    println!("participants on {name}: {why}");
                    cases.failed += 1;
                }
            }
        }
        Ok(cases)
    }

    /// All processes are stopped when this returns.
    fn check_one(&self, broker: &str, bus: &str) -> Result<(), String> {
        let folder = self.folder.join(broker);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let report = |name: &str| folder.join(format!("{name}.json"));
        let mut processes = Processes::new(&folder);
        let role = |name: &str, more: &[&str]| {
            let mut command = program(&self.checkout, ["--role", name]);
            command.args(more).arg("--report").arg(report(name));
            command
        };
        processes.start("endpoint", role("endpoint", &["--listen", "127.0.0.1:0"]))?;
        let url = processes.says("endpoint", "listening on ", START_MAX)?;
        for name in ROLES {
            let more: &[&str] = match name {
                "coordinator" => &["--bus", bus, "--callback", &url],
                "payment" => &["--bus", bus, "--fail", "payment:10"],
                _ => &["--bus", bus],
            };
            processes.start(name, role(name, more))?;
        }
        let books = folder.join("confirmation.db");
        let mut participant = program(&self.python, ["-B", PARTICIPANT, bus]);
        processes.start("confirmation", {
            participant.arg(books);
            participant
        })?;
        let orders = self.orders.to_string_lossy();
        let shop = role("shop", &["--bus", bus, "--fail", "payment:10", "--orders", &orders]);
        processes.start("shop", shop)?;
        processes.succeeds("shop", ORDERS_MAX)?;
        let console = format!("{PARTICIPANT}/console.py");
        processes.start("console", program(&self.python, ["-B", &console, bus, BARE]))?;
        processes.succeeds("console", START_MAX)?;
        write(&report("console"), BARE_REPORT)?;
        // Its report is its output.
        let said = processes.stop("confirmation")?;
        fs::write(report("confirmation"), said)
            .map_err(|error| format!("the report of confirmation: {error}"))?;
        for name in ROLES.into_iter().chain(["endpoint"]) {
            processes.stop(name)?;
        }
        let names = ROLES.into_iter().chain(["endpoint", "shop", "console", "confirmation"]);
        run(program(&self.checkout, [PathBuf::from("--check-reports")].into_iter().chain(names.map(report))))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
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
