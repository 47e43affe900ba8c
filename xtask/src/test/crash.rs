//! A process dies at every point, with everything in itself. With brokers and PostgreSQL, `cargo xtask crash` takes its time: they must first notice
//! that it is dead.

use super::{Context, Outcome};
use crate::crash::{self, Plan};

pub(super) fn check(_: &Context) -> Outcome {
    match crash::run(&Plan::everywhere(vec![("memory", "sqlite")])) {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("not everything is right after a crash; see above".to_owned()),
        Err(why) => Outcome::Failed(why),
    }
}
