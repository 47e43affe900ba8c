//! `saga list`

use saga::Status;
use saga::ports::{Query, Summary};
use serde_json::json;

use crate::cli::{List, Place, StatusArg};
use crate::fail::Failure;
use crate::out::{line, print};
use crate::table::table;
use crate::time::{ago, now};

pub(crate) async fn run(place: &Place, wanted: List) -> Result<(), Failure> {
    let query = Query {
        saga: wanted.saga.map(Into::into),
        status: wanted.status.map(status),
        after: wanted.after.map(|key| key.0),
        limit: wanted.limit,
    };
    let found = place.operator().await?.list(query).await?;
    if place.json {
        let lines: Vec<_> = found.iter().map(json_of).collect();
        return line(serde_json::Value::from(lines));
    }
    print(text(&found))?;
    if found.len() == wanted.limit
        && let Some(last) = found.last()
    {
        eprintln!("there may be more: --after {}", last.key);
    }
    Ok(())
}

fn text(found: &[Summary]) -> String {
    let now = now();
    let rows: Vec<_> = found
        .iter()
        .map(|line| {
            let definition =
                line.definition.as_ref().map_or_else(|| "pruned".to_owned(), |it| format!("v{}", it.version));
            [line.key.to_string(), line.status.to_string(), definition, ago(line.changed_at, now)]
        })
        .collect();
    table(["SAGA", "STATUS", "DEFINITION", "CHANGED"], &rows)
}

fn json_of(line: &Summary) -> serde_json::Value {
    json!({
        "saga": line.key.saga,
        "id": line.key.id,
        "run": line.run,
        "status": line.status,
        "definition": line.definition,
        "changed_at": line.changed_at.to_string(),
        "wake_at": line.wake_at.map(|at| at.to_string()),
    })
}

const fn status(status: StatusArg) -> Status {
    match status {
        StatusArg::Running => Status::Running,
        StatusArg::Unwinding => Status::Unwinding,
        StatusArg::Parked => Status::Parked,
        StatusArg::Completed => Status::Completed,
        StatusArg::RolledBack => Status::RolledBack,
        StatusArg::Abandoned => Status::Abandoned,
    }
}
