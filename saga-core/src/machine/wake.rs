//! When a saga is to be woken: the next deadline, resend or callback attempt.

use std::time::Duration;

use super::instance::Instance;
use super::owed::Effect;
use super::state::{Forward, Phase};
use crate::record::Timestamp;

/// When what is owed is performed again: `first` after it became owed, then after twice as long each time, up to every `max`.
/// Silence never counts as failure: this goes on without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// The first interval.
    pub first: Duration,
    /// The longest interval.
    pub max: Duration,
}

impl Resend {
    /// After 5 s, then doubling up to once a minute.
    pub const DEFAULT: Self = Self { first: Duration::from_secs(5), max: Duration::from_secs(60) };

    /// The first moment later than `after` at which something owed since `since` is to be performed again.
    pub fn next(&self, since: Timestamp, after: Timestamp) -> Timestamp {
        let mut interval = self.first.max(Duration::from_millis(1));
        let mut at = since.after(interval);
        while at <= after {
            if interval >= self.max {
                // From here on the points are evenly spaced: leap to the right one.
                let every = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
                let missed = after.since(at).as_millis() as u64 / every + 1;
                return at.after(Duration::from_millis(missed.saturating_mul(every)));
            }
            interval = (interval * 2).min(self.max);
            at = at.after(interval);
        }
        at
    }
}

impl Instance {
    /// When the saga is to be woken next; `None` when nothing is to happen by itself. A deadline that has passed and was not allowed to
    /// fire is in the past.
    pub fn wake_at(&self, now: Timestamp, resend: &Resend) -> Option<Timestamp> {
        let again = self.all_owed().map(|effect| match effect {
            Effect::Callback { not_before, .. } if not_before > now => not_before,
            Effect::Callback { .. } | Effect::Command { .. } | Effect::Announce(_) => {
                resend.next(self.owed_since(effect), now)
            }
        });
        let held = (!self.state.held.is_empty()).then_some(now);
        again.chain(self.next_deadline()).chain(held).min()
    }

    /// The earliest deadline that has not fired.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let grace = match self.state.phase {
            Phase::Forward => None,
            Phase::Failing { until, .. } => until,
            Phase::Unwinding | Phase::Ended { .. } => return None,
        };
        let steps = self.definition.steps.iter().zip(&self.state.steps).filter_map(|(definition, step)| {
            let is_in_flight = step.forward == Forward::Running;
            definition.deadline.filter(|_| is_in_flight).map(|deadline| step.dispatched_at.after(deadline))
        });
        let saga = self.definition.deadline.filter(|_| !self.state.overdue);
        steps.chain(grace).chain(saga.map(|deadline| self.state.started_at.after(deadline))).min()
    }

    /// Whether something owed and performed last at `performed_at` is due again.
    pub fn is_due_again(
        &self,
        effect: Effect,
        performed_at: Option<Timestamp>,
        now: Timestamp,
        resend: &Resend,
    ) -> bool {
        match (effect, performed_at) {
            (Effect::Callback { not_before, .. }, None) => not_before <= now,
            (_, None) => true,
            (effect, Some(performed_at)) => resend.next(self.owed_since(effect), performed_at) <= now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resends_back_off_and_never_end() {
        let resend = Resend { first: Duration::from_secs(5), max: Duration::from_secs(60) };
        let next = |after: u64| {
            resend.next(Timestamp::from_millis(0), Timestamp::from_millis(after * 1_000)).as_millis() / 1_000
        };
        assert_eq!([next(0), next(5), next(15), next(35), next(75), next(135)], [5, 15, 35, 75, 135, 195]);
        assert_eq!(next(135 + 60 * 1_000_000), 135 + 60 * 1_000_001);
        for after in 0..10_000 {
            assert!(next(after) > after);
        }
    }
}
