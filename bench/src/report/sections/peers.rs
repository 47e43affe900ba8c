//! Another crate that coordinates sagas.

use std::path::Path;

use super::{parts, shown, table};
use crate::report::results::{Kept, number, text};

pub(super) fn peers(all: &[&Kept], _: &Path) -> Result<String, String> {
    let rows = all.iter().flat_map(|kept| {
        let ratio = kept.number("/ratio");
        parts(kept, "sides").into_iter().map(move |side| {
            let name = text(&side, "/side");
            vec![
                text(&kept.result, "/promise").to_owned(),
                name.to_owned(),
                shown(number(&side, "/sagas_per_second"), 0),
                shown(if name == "steno" { 1.0 } else { ratio }, 2),
                shown(number(&side, "/p50_ms"), 1),
                shown(number(&side, "/p99_ms"), 1),
                shown(number(&side, "/cpu_us"), 0),
            ]
        })
    });
    let head = ["logs", "", "sagas/s", "÷ steno", "p50, ms", "p99, ms", "CPU µs a saga"];
    let page = format!(
        "## Beside steno\n\nThe other crate that coordinates sagas; it runs steps in its own process, without a bus. 64 in flight.\n\n{}",
        table(&head, rows)
    );
    Ok(page)
}
