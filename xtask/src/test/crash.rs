//! A process dies at every point: once with everything in itself, once with a broker and a database.

use super::{Context, Outcome};
use crate::crash::{self, Plan};

pub(super) fn check(_: &Context) -> Outcome {
    match crash::run(&Plan::everywhere(vec![("memory", "sqlite"), ("nats", "postgres")])) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("not everything is right after a crash; see above".to_owned()),
        Err(why) => Outcome::Failed(why),
    }
}
