//! The checkout over real brokers, while the broker is killed and started again.

use super::{Cases, Context, Outcome};
use crate::checkout::{self, Plan};

pub(super) fn check(_: &Context) -> Outcome {
    let mut cases = Cases::default();
    match checkout::run(&Plan::disturbed(), |name, result| cases.count(name, result)) {
        Ok(()) => Outcome::Cases(cases),
        Err(why) => Outcome::Failed(why),
    }
}
