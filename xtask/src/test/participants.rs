//! The checkout as seven processes over each broker, one of them in another language: the participant in Python does the confirmations.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cases, Context, Outcome};
use crate::built;
use crate::checkout::roles::{Lasting, Roles};
use crate::checkout::{BROKERS, lines};
use crate::command::{program, run};
use crate::servers;

const ORDERS: u32 = 200;
const PARTICIPANT: &str = "examples/checkout/participant";
/// An order as somebody types it into a console producer, and what a shop would report of it.
const BARE: &str = r#"{"event":"order-placed","order_id":"bare-1","customer_id":"c","items":[{"product_id":"p003","quantity":2}]}"#;
const BARE_REPORT: &str = r#"{"completed":["bare-1"],"rolled_back":0,"due":{"inventory-check":{"p003":2},"payment-validation":{"cents":2000},
"customer-history-update":{"orders":1},"send-confirmation":{"orders":1}}}"#;
/// How long the orders may take to end, all of them.
const ORDERS_MAX: Duration = Duration::from_secs(240);
const ORDER_MAX: Duration = Duration::from_secs(60);

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
    run(program(&python, ["-B", "-m", "unittest", "discover", "--start-directory", PARTICIPANT]))?;
    let checkout = built::checkout(false)?;
    write(&orders, &lines(ORDERS))?;
    Ok(Stand { folder, python, checkout, orders })
}

impl Stand {
    fn check_all(&self, variables: &[(String, String)]) -> Result<Cases, String> {
        let mut cases = Cases::default();
        // A server that runs already may have what an earlier run has left.
        let prefix = format!("participants-{}.", std::process::id());
        for (broker, variable) in BROKERS {
            let url = servers::value(variables, variable)?;
            let result = self.check_one(broker, &format!("{url}?prefix={prefix}"));
            cases.count(&format!("{broker} with a participant in Python"), result);
        }
        Ok(cases)
    }

    /// All processes are stopped when this returns.
    fn check_one(&self, broker: &str, bus: &str) -> Result<(), String> {
        let folder = self.folder.join(broker);
        let mut participant = program(&self.python, ["-B", PARTICIPANT, bus]);
        participant.arg(folder.join("confirmation.db"));
        let mut roles = Roles::start(&self.checkout, &folder, bus, Lasting::default(), Some(participant))?;
        let orders = self.orders.to_string_lossy();
        roles.spawn("shop", &["--bus", bus, "--fail", "payment:10", "--orders", &orders])?;
        roles.processes.succeeds("shop", ORDERS_MAX)?;
        let console = format!("{PARTICIPANT}/console.py");
        roles.processes.start("console", program(&self.python, ["-B", &console, bus, BARE]))?;
        roles.processes.succeeds("console", ORDER_MAX)?;
        write(Path::new(&roles.report("console")), BARE_REPORT)?;
        roles.stop_and_check(&["shop", "console"])
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
