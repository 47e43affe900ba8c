//! Half a minute of chaos, which must leave the books right.

use super::{Cases, Context, Outcome};
use crate::chaos::{self, Plan};

const SECONDS: u32 = 30;

pub(super) fn check(_: &Context) -> Outcome {
    let mut cases = Cases::default();
    for (bus, log) in [("nats", "postgres"), ("rabbit", "sqlite")] {
        let ran = chaos::run(&Plan::short(bus, log, SECONDS));
        let result = ran.and_then(|is_right| if is_right { Ok(()) } else { Err("see above".to_owned()) });
        cases.count(&format!("chaos on {bus} and {log}"), result);
    }
    Outcome::Cases(cases)
}
