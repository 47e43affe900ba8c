//! The saga log and the barrier in SQLite and PostgreSQL, and the checkout with its log there.

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
    let found = variables.iter().find(|(name, _)| name == VARIABLE);
    let (_, url) = found.ok_or_else(|| format!("{VARIABLE} is not known"))?;
    let example = built::checkout(false)?;
    let file = target.join("checkout.db");
    for end in ["", "-wal", "-shm"] {
        // Of an earlier run, whose orders would be the same purchases.
        let _none = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    let schema = format!("checkout_{}", std::process::id());
    for log in [format!("sqlite:{}", file.display()), format!("{url}?schema={schema}")] {
        for trouble in [&[][..], &["--fail", "payment"]] {
            let id = format!("log-{}", trouble.len());
            let orders = target.join(format!("{id}.jsonl"));
            write_orders(&orders, &id)?;
            let orders = orders.to_string_lossy();
            match run(program(&example, [&["--log", &log, "--orders", &orders], trouble].concat())) {
                Ok(()) => cases.passed += 1,
                Err(why) => {
                    println!("{why}");
                    cases.failed += 1;
                }
            }
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
