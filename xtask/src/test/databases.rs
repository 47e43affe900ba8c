//! What is in SQLite and PostgreSQL: the saga log, the barrier, the outbox and leases; the checkout with its log there; and the tool `saga` beside it.

mod operating;

use std::path::Path;

use super::{Cases, Context, Outcome, cases};
use crate::built;
use crate::command::{program, run};
use crate::servers;

const POSTGRES: &str = "postgres";
const VARIABLE: &str = "SAGA_POSTGRES_URL";

/// A server that cannot be started is a failure.
pub(super) fn check(context: &Context) -> Outcome {
    let target = &context.workspace.target_directory;
    let checked = servers::up(target, &[POSTGRES]).and_then(|variables| check_all(context, &variables));
    match (checked, servers::down(target, &[POSTGRES])) {
        (Ok(cases), Ok(())) => Outcome::Cases(cases),
        (Err(why), _) | (_, Err(why)) => Outcome::Failed(why),
    }
}

fn check_all(context: &Context, variables: &[(String, String)]) -> Result<Cases, String> {
    let target = &context.workspace.target_directory;
    let mut cases = cases::with_servers(context, "saga-sql", variables)?;
    if cases.ignored > 0 {
        return Err(format!("{} cases were ignored although the server is there", cases.ignored));
    }
    let url = servers::value(variables, VARIABLE)?;
    let example = built::checkout(false)?;
    let file = target.join("checkout.db");
    for end in ["", "-wal", "-shm"] {
        // Of an earlier run, whose orders would be the same purchases.
        let _none = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    let saga = built::binary("saga-cli", "saga")?;
    let parked = target.join("checkout-parked.db");
    for end in ["", "-wal", "-shm"] {
        let _none = std::fs::remove_file(format!("{}{end}", parked.display()));
    }
    let schema = format!("parked_{}", std::process::id());
    for log in [format!("sqlite:{}", parked.display()), format!("{url}?schema={schema}")] {
        cases.count("an operator at work", operating::check(&example, &saga, &log));
    }
    let schema = format!("checkout_{}", std::process::id());
    for log in [format!("sqlite:{}", file.display()), format!("{url}?schema={schema}")] {
        for trouble in [&[][..], &["--fail", "payment"]] {
            let id = format!("log-{}", trouble.len());
            let orders = target.join(format!("{id}.jsonl"));
            write_orders(&orders, &id)?;
            let orders = orders.to_string_lossy();
            let args = [&["--log", &log, "--orders", &orders], trouble].concat();
            cases.count("the checkout", run(program(&example, args)));
        }
    }
    Ok(cases)
}

fn write_orders(path: &Path, id: &str) -> Result<(), String> {
    let lines = (0..200).map(|n| {
        format!(
            r#"{{"event":"order-placed","order_id":"{id}-{n}","customer_id":"c{n}","items":[{{"product_id":"p{:03}","quantity":1}}]}}"#,
            n % 50
        )
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
