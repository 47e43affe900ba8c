//! Half a minute of chaos, and of a broker that forgets: both must leave the books right.

use super::{Cases, Context, Outcome};
use crate::chaos::{self, Plan};

const SECONDS: u32 = 30;
/// Enough to forget twice.
const FORGETTING_SECONDS: u32 = 25;

pub(super) fn check(_: &Context) -> Outcome {
    let mut cases = Cases::default();
    let plans = [
        ("chaos", Plan::short("nats", "postgres", SECONDS)),
        ("a broker that forgets", Plan::forgetting("nats", "postgres", FORGETTING_SECONDS)),
    ];
    for (name, plan) in plans {
        let result = chaos::run(&plan).and_then(|is_right| {
            is_right.then_some(()).ok_or_else(|| "the books are not right; see above".to_owned())
        });
        cases.count(name, result);
    }
    Outcome::Cases(cases)
}
