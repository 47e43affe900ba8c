use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::record::Timestamp;

/// For how long another coordinator that was met is reckoned with.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How often somebody looks whether there is another one, while none was met.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Whether other coordinators go on with sagas that are in memory here, as those do that read the same topic of replies. Moments are milliseconds by this
/// coordinator's clock, 0 for never.
#[derive(Debug, Default)]
pub(super) struct Others {
    met_at: AtomicU64,
    looked_at: AtomicU64,
}

impl Others {
    /// Another one was first with a saga of ours, or had begun one that came here.
    pub(super) fn met(&self, now: Timestamp) {
        self.met_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether one was met lately.
    pub(super) fn are_near(&self, now: Timestamp) -> bool {
        is_within(&self.met_at, REMEMBERED, now)
    }

    /// Whether somebody is to look into the log for what another one has done: any time where one was met, and not too often where none was.
    pub(super) fn may_look(&self, now: Timestamp) -> bool {
        if self.are_near(now) {
            return true;
        }
        let may = !is_within(&self.looked_at, LOOK_INTERVAL, now);
        if may {
            self.looked_at.store(now.as_millis(), Ordering::Relaxed);
        }
        may
    }
}

fn is_within(moment: &AtomicU64, time: Duration, now: Timestamp) -> bool {
    let moment = moment.load(Ordering::Relaxed);
    moment > 0 && now.since(Timestamp::from_millis(moment)) < time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_into_seldom_until_another_was_met_and_for_a_minute_after() {
        let (others, now) = (Others::default(), Timestamp::from_millis(1_000_000));
        assert!(!others.are_near(now) && others.may_look(now) && !others.may_look(now));
        assert!(others.may_look(now.after(LOOK_INTERVAL)));
        others.met(now);
        let later = now.after(REMEMBERED / 2);
        assert!(others.may_look(later) && others.may_look(later));
        let much_later = now.after(REMEMBERED);
        assert!(others.may_look(much_later) && !others.may_look(much_later));
    }
}
