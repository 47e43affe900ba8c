//! What goes wrong on purpose: refusals, lost answers, slowness.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use saga::{StepContext, StepError};

use crate::show::{Screen, Tone};

/// The four sub-cases, by the names that the options use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubCase {
    Inventory,
    Payment,
    History,
    Confirmation,
}

impl SubCase {
    pub(crate) const ALL: [Self; 4] = [Self::Inventory, Self::Payment, Self::History, Self::Confirmation];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::History => "history",
            Self::Confirmation => "confirmation",
        }
    }

    /// How long its pretended work takes, so that the four can be watched running side by side.
    const fn work(self) -> Duration {
        Duration::from_millis(match self {
            Self::Inventory => 40,
            Self::Payment => 60,
            Self::History => 30,
            Self::Confirmation => 20,
        })
    }
}

/// Every how many orders something goes wrong, for each sub-case.
pub(crate) type Picks = [Option<u64>; 4];

/// What is to go wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Refuse, or be down.
    pub(crate) fail: Picks,
    /// Fail to undo what was done, however often.
    pub(crate) fail_undo: Picks,
    /// Do the work, and never answer.
    pub(crate) silent: Picks,
    /// Take that much longer.
    pub(crate) slow: [Duration; 4],
}

impl Plan {
    /// Whether answers are to be lost anywhere.
    pub(crate) fn has_silent(&self) -> bool {
        self.silent.iter().any(Option::is_some)
    }

    /// How much longer the slowest sub-case takes.
    pub(crate) fn slowest(&self) -> Duration {
        self.slow.into_iter().max().unwrap_or_default()
    }
}

/// The plan applied to the orders. It needs nothing but their ids, so every process comes to the same.
pub(crate) struct Troubles {
    plan: Plan,
    /// Whether the pretended work takes time at all.
    takes_time: bool,
}

impl Troubles {
    pub(crate) const fn new(plan: Plan, takes_time: bool) -> Self {
        Self { plan, takes_time }
    }

    /// Whether something is to go wrong with this order.
    pub(crate) fn spoil(&self, order_id: &str) -> bool {
        SubCase::ALL.into_iter().any(|case| self.fails(case, order_id) || self.is_silent(case, order_id))
    }

    /// Whether undoing this order is to fail somewhere, so that somebody must come and see.
    pub(crate) fn needs_operator(&self, order_id: &str) -> bool {
        SubCase::ALL.into_iter().any(|case| is_picked(self.plan.fail_undo[case as usize], order_id))
    }

    fn fails(&self, case: SubCase, order_id: &str) -> bool {
        is_picked(self.plan.fail[case as usize], order_id)
    }

    fn is_silent(&self, case: SubCase, order_id: &str) -> bool {
        is_picked(self.plan.silent[case as usize], order_id)
    }
}

/// Every how many orders it happens: to those whose number, the digits at the end of the id, is a multiple of it.
fn is_picked(every: Option<u64>, order_id: &str) -> bool {
    let Some(every) = every else { return false };
    let digits = order_id.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    // An order without a number is picked where all are.
    digits.parse::<u64>().map_or(every == 1, |number| number.is_multiple_of(every))
}

/// The troubles of one sub-case.
#[derive(Clone)]
pub(crate) struct Trouble {
    troubles: Arc<Troubles>,
    case: SubCase,
    screen: Screen,
}

impl Trouble {
    pub(crate) const fn new(troubles: Arc<Troubles>, case: SubCase, screen: Screen) -> Self {
        Self { troubles, case, screen }
    }

    /// An attempt begins, and takes the time that the work would take.
    pub(crate) async fn begin(&self, ctx: &StepContext) {
        match ctx.attempt {
            1 => self.screen.event(ctx, Tone::Plain, "started"),
            attempt => self.screen.event(ctx, Tone::Plain, format_args!("started, attempt {attempt}")),
        }
        let work = if self.troubles.takes_time { self.case.work() } else { Duration::ZERO };
        let time = work + self.troubles.plan.slow[self.case as usize];
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }

    /// Whether this order is to fail here.
    pub(crate) fn fails(&self, order_id: &str) -> bool {
        self.troubles.fails(self.case, order_id)
    }

    /// Where undoing is to fail: it does, every time.
    pub(crate) fn begin_undo(&self, ctx: &StepContext, order_id: &str) -> Result<(), StepError> {
        if !is_picked(self.troubles.plan.fail_undo[self.case as usize], order_id) {
            return Ok(());
        }
        let reason = "its undo fails, as --fail-undo asks";
        self.screen.event(ctx, Tone::Bad, reason);
        Err(StepError::retry(reason))
    }

    /// Where answers are to be lost: the work is done, and nobody will ever hear of it.
    pub(crate) async fn lose_answer(&self, ctx: &StepContext, order_id: &str) {
        if self.troubles.is_silent(self.case, order_id) {
            self.screen.event(ctx, Tone::Bad, "its answer is lost");
            future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_order_is_told_by_its_id() {
        for (id, every, expected) in [
            ("o10", 10, true),
            ("2026-110", 10, true),
            ("20", 10, true),
            ("o11", 10, false),
            ("10x", 10, false),
            ("x", 10, false),
            ("x", 1, true),
            ("o11", 1, true),
        ] {
            assert_eq!(is_picked(Some(every), id), expected, "{id}, every {every}");
        }
        assert!(!is_picked(None, "10"));
    }
}
