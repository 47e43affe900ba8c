//! `saga audit`

use serde_json::{Value, json};

use crate::cli::{Key, Place};
use crate::fail::Failure;
use crate::out::{line, print};
use crate::table::table;

pub(crate) async fn run(place: &Place, key: Option<Key>, limit: usize) -> Result<(), Failure> {
    let actions = place.operator().await?.audit(key.as_ref().map(|key| &key.0), limit).await?;
    if place.json {
        let lines = actions.iter().map(|action| {
            let (saga, id, run) = (&action.key.saga, &action.key.id, action.run);
            json!({ "saga": saga, "id": id, "run": run, "at": action.at.to_string(), "what": action.what })
        });
        return line(Value::from(lines.collect::<Vec<_>>()));
    }
    let row = |action: &saga::operator::Action| {
        [action.at.to_string(), action.key.to_string(), action.what.clone()]
    };
    print(table(["AT", "SAGA", "WHAT"], &actions.iter().map(row).collect::<Vec<_>>()))
}
