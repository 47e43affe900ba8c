//! For how long a coordinator owns its sagas, and what time it is.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Shared;
use crate::error::{Error, ErrorKind};
use crate::ports::{Clock, Lease};
use crate::record::Timestamp;

/// A difference between the log's clock and our reckoning of it that counts as drift and is followed; a larger one is somebody setting a
/// clock, and is not.
const DRIFT_MAX: Duration = Duration::from_secs(1);

/// A coordinator's lease, and its reckoning of the log's time: the log's clock when the lease was taken, plus what has passed since.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    owner: Arc<str>,
    lease: Lease,
    /// The log's time, and our clock's, at one moment.
    log_time: Timestamp,
    clock_time: Timestamp,
    /// Our reckoning, and our clock's time, when the lease was taken or renewed last. The reckoning differs from [`Lease::now`] if the
    /// log's clock has leapt and we have not followed.
    renewed_at: Timestamp,
    renewed_clock_time: Timestamp,
}

impl Tenure {
    pub(super) async fn begin(shared: &Shared) -> Result<Self, Error> {
        let owner = Arc::clone(&shared.options.name);
        let asked = shared.clock.now();
        let lease = shared.log.lease(&owner, None, shared.options.lease_ttl).await?;
        let clock_time = midway(asked, shared.clock.now());
        let (log_time, renewed_at, renewed_clock_time) = (lease.now, lease.now, clock_time);
        Ok(Self { owner, lease, log_time, clock_time, renewed_at, renewed_clock_time })
    }

    /// Renews the lease; if it has run out, what was known of the sagas is void, and a new one begins.
    pub(super) async fn renew(mut self, shared: &Shared) -> Result<Self, Error> {
        let asked = shared.clock.now();
        match shared.log.lease(&self.owner, Some(self.lease.epoch), shared.options.lease_ttl).await {
            Ok(lease) => {
                self.renewed(lease, midway(asked, shared.clock.now()));
                Ok(self)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::warn!(owner = %self.owner, "the lease has run out; beginning a new one");
                let new = Self::begin(shared).await?;
                if shared.clock.now().since(self.renewed_clock_time) >= shared.options.lease_ttl {
                    return Ok(new);
                }
                // By our clock it cannot have run out: the log's has leapt, and our reckoning goes on.
                self.renewed(new.lease, new.clock_time);
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// The lease was renewed at that time by our clock.
    fn renewed(&mut self, lease: Lease, clock_time: Timestamp) {
        let reckoned = self.reckon(clock_time);
        let drift = lease.now.since(reckoned).max(reckoned.since(lease.now));
        (self.lease, self.renewed_at, self.renewed_clock_time) = (lease, reckoned, clock_time);
        if drift <= DRIFT_MAX {
            (self.log_time, self.clock_time, self.renewed_at) = (lease.now, clock_time, lease.now);
        } else {
            tracing::warn!(?drift, "the saga log's clock has leapt; not following it");
        }
    }

    /// What the log's clock will show at a moment of our reckoning: the log goes by that when it wakes sagas.
    pub(super) fn on_the_logs_clock(&self, at: Timestamp) -> Timestamp {
        let back_ms = u64::try_from(self.renewed_at.since(at).as_millis()).unwrap_or(u64::MAX);
        let then = self.lease.now.after(at.since(self.renewed_at)).as_millis();
        Timestamp::from_millis(then.saturating_sub(back_ms))
    }

    pub(super) async fn end(&self, shared: &Shared) {
        if let Err(error) = shared.log.release(&self.owner, self.lease.epoch).await {
            tracing::warn!(owner = %self.owner, %error, "cannot give the lease back; it will run out");
        }
    }

    pub(super) fn owner(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.owner), self.lease.epoch)
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.lease.epoch
    }

    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.reckon(clock.now())
    }

    fn reckon(&self, clock_time: Timestamp) -> Timestamp {
        self.log_time.after(clock_time.since(self.clock_time))
    }
}

/// When the log answered, by our clock: some time while it was asked. Taken so, our reckoning is wrong by half of that time at most.
fn midway(asked: Timestamp, answered: Timestamp) -> Timestamp {
    asked.after(answered.since(asked) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenure_is_known_by_the_epoch_of_its_lease() {
        let at = Timestamp::from_millis(1_000);
        let lease = Lease { epoch: 7, now: at, until: at.after(Duration::from_secs(10)) };
        let (log_time, clock_time) = (at, at);
        let (renewed_at, renewed_clock_time) = (at, at);
        let owner: Arc<str> = "one".into();
        let tenure = Tenure { owner, lease, log_time, clock_time, renewed_at, renewed_clock_time };
        assert_eq!((tenure.epoch(), tenure.owner().1), (7, 7));
    }

    #[test]
    fn the_log_has_answered_half_way_between_question_and_answer() {
        let at = Timestamp::from_millis;
        assert_eq!(midway(at(1_000), at(1_300)), at(1_150));
    }
}
