//! The checkout over real brokers, also while the broker is killed and started again.

use super::{Cases, Context, Outcome};
use crate::checkout;

pub(super) fn check(_: &Context) -> Outcome {
    let mut cases = Cases::default();
    let ran =
        checkout::chosen(&[]).and_then(|plan| checkout::run(&plan, |name, result| cases.count(name, result)));
    match ran {
        Ok(()) => Outcome::Cases(cases),
        Err(why) => Outcome::Failed(why),
    }
}
