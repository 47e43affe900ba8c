//! What is in SQLite and PostgreSQL: the saga log, the barrier, the outbox and leases; the checkout with its log and its books there; and the
//! tool `saga` beside it.

mod checkout;
mod operating;

use self::checkout::Kept;
use super::{Cases, Context, Outcome, cases};
use crate::built;
use crate::servers;

const SERVERS: [&str; 2] = ["postgres", "nats"];
const VARIABLE: &str = "SAGA_POSTGRES_URL";

/// A server that cannot be started is a failure.
pub(super) fn check(context: &Context) -> Outcome {
    let target = &context.workspace.target_directory;
    let checked = servers::up(target, &SERVERS).and_then(|variables| check_all(context, &variables));
    match (checked, servers::down(target, &SERVERS)) {
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
    let saga = built::binary("saga-cli", "saga")?;
    let parked = target.join("checkout-parked.db");
    for end in ["", "-wal", "-shm"] {
        let _none = std::fs::remove_file(format!("{}{end}", parked.display()));
    }
    let schema = format!("parked_{}", std::process::id());
    for log in [format!("sqlite:{}", parked.display()), format!("{url}?schema={schema}")] {
        cases.count("an operator at work", operating::check(&example, &saga, &log));
    }
    let folder = target.join("checkout").join("databases");
    let name = |what: &str| format!("{what}_{}", std::process::id());
    let in_files = Kept::in_folder(&folder.join("sqlite"))?;
    let on_server = Kept::on_server(url, &name("checkout"));
    for (kept, place) in [(&in_files, "SQLite"), (&on_server, "PostgreSQL")] {
        cases.count(&format!("the checkout on {place}"), checkout::twice(&example, &folder, kept));
        let killed = checkout::killed(&example, &folder, kept);
        cases.count(&format!("the checkout on {place}, killed and started again"), killed);
    }
    let bus = servers::value(variables, "SAGA_NATS_URL")?;
    let bus = format!("{bus}?prefix={}.", name("side-by-side"));
    let kept = Kept::on_server(url, &name("side"));
    let ended = checkout::side_by_side(&example, &folder.join("side-by-side"), &bus, &kept);
    cases.count("the checkout in nine processes over NATS, some of them killed", ended);
    Ok(cases)
}
