//! Half a minute of chaos, which must leave the books right.

use super::{Context, Outcome};
use crate::chaos::{self, Plan};

const SECONDS: u32 = 30;

pub(super) fn check(_: &Context) -> Outcome {
    match chaos::run(&Plan::short("nats", "postgres", SECONDS)) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("the books are not right; see above".to_owned()),
        Err(why) => Outcome::Failed(why),
    }
}
