use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use saga_core::{Error, ErrorKind};
use sqlx::Database;

use super::{LeaseDatabase, Leases};
use crate::error::told;

/// A key that is held until its lease runs out or is [released](Self::release). Dropped, it runs out by itself.
pub struct KeyLease<DB: Database> {
    leases: Leases<DB>,
    key: Arc<str>,
    number: i64,
    /// Until when it surely holds, by this machine's clock.
    until: Instant,
}

impl<DB: LeaseDatabase> KeyLease<DB> {
    pub(super) fn new(leases: Leases<DB>, key: Arc<str>, number: i64, asked: Instant, ttl: Duration) -> Self {
        Self { leases, key, number, until: later(asked, ttl) }
    }

    /// Its key.
    pub const fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// A number that is higher than that of every earlier lease on this key. Whoever is told it and remembers the highest can refuse what a
    /// holder that was paused still sends. It stays the same when the lease is renewed.
    pub const fn fencing(&self) -> u64 {
        self.number.unsigned_abs()
    }

    /// How long it still holds, as far as this process knows; zero if it may have run out.
    pub fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Moves its end to so long from now.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it has run out, even if nobody has taken the key since: stop what you do for it. Another error
    /// leaves open whether it was renewed.
    pub async fn renew(&mut self, ttl: Duration) -> Result<(), Error> {
        let asked = Instant::now();
        let ask = self.leases.ask(Arc::clone(&self.key), ttl);
        let renewed = DB::renew(&self.leases.pool, &ask, self.number).await;
        let renewed =
            renewed.map_err(|error| told(format!("the lease on {:?} cannot be renewed", self.key), error))?;
        if !renewed {
            return Err(self.lost());
        }
        self.until = later(asked, ttl);
        Ok(())
    }

    /// Makes sure, in the caller's transaction, that it has not run out: nobody takes the key before the transaction ends. So whoever has lost the
    /// lease cannot commit. The transaction must be on the same database; keep it short, since others who want the key wait for it.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when it has run out: roll the transaction back.
    pub async fn check(&self, connection: &mut DB::Connection) -> Result<(), Error> {
        let ask = self.leases.ask(Arc::clone(&self.key), Duration::ZERO);
        let held = DB::check(connection, &ask, self.number).await;
        let held =
            held.map_err(|error| told(format!("the lease on {:?} cannot be checked", self.key), error))?;
        if held { Ok(()) } else { Err(self.lost()) }
    }

    /// Ends it, so that others need not wait. If it has run out, this does nothing: somebody else's lease stays.
    ///
    /// # Errors
    /// When the database does not answer: then it runs out by itself.
    pub async fn release(self) -> Result<(), Error> {
        let ask = self.leases.ask(Arc::clone(&self.key), Duration::ZERO);
        let released = DB::renew(&self.leases.pool, &ask, self.number).await;
        released
            .map(drop)
            .map_err(|error| told(format!("the lease on {:?} cannot be given back", self.key), error))
    }

    fn lost(&self) -> Error {
        let message = format!("lease {} on {:?} has run out: acquire it anew", self.number, self.key);
        Error::new(ErrorKind::Conflict, message)
    }
}

/// A century ahead if that is further than clocks go.
fn later(from: Instant, by: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
    from.checked_add(by.min(CENTURY)).unwrap_or(from)
}

impl<DB: Database> fmt::Debug for KeyLease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLease")
            .field("key", &self.key)
            .field("fencing", &self.number)
            .finish_non_exhaustive()
    }
}
