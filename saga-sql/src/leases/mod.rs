//! Keyed leases for users: at most one holder of a key at a time. The same for every database.

mod database;
mod guard;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use saga_core::Error;
use saga_core::memory::TokioClock;
use saga_core::ports::Clock;
use sqlx::{Database, Pool};

pub use database::{LeaseAsk, LeaseDatabase};
pub use guard::KeyLease;

use crate::error::told;
use crate::stored::to_column;

/// How often leases that ran out long ago are dropped.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// For how long a lease that has run out is still shown.
pub(crate) const SHOWN_FOR_MS: i64 = 24 * 3_600_000;
/// Some thousand years will do, and leave room to add them to the time.
const TTL_MS_MAX: i64 = i64::MAX / 4;

/// Leases on keys of the user's choice, for work that only one process may do at a time. Cloning shares it.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use saga_sql::postgres::PostgresLeases;
///
/// let leases = PostgresLeases::connect("postgres://localhost/shop").await?;
/// let Some(lease) = leases.acquire("order-12345", Duration::from_secs(30)).await? else {
///     return Ok(()); // somebody else is at it
/// };
/// let mut tx = leases.pool().begin().await?;
/// lease.check(&mut tx).await?; // whoever has lost the lease cannot commit
/// // …
/// tx.commit().await?;
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
///
/// - Two never hold one key at the same time, by the database's clock. A holder that was paused may still believe that it does: what it
///   does is safe in a transaction that [checks](KeyLease::check) the lease, or where the other side refuses a
///   [`fencing`](KeyLease::fencing) number lower than the highest that it has seen.
/// - A holder that dies holds its key until the lease runs out.
///
/// It is made by `PostgresLeases` and `SqliteLeases`.
pub struct Leases<DB: Database> {
    pool: Pool<DB>,
    clock: Arc<dyn Clock>,
    holder: Arc<str>,
    prune_at: Arc<Mutex<Option<Instant>>>,
}

impl<DB: LeaseDatabase> Leases<DB> {
    pub(crate) fn new(pool: Pool<DB>) -> Self {
        Self {
            pool,
            clock: Arc::new(TokioClock::new()),
            holder: format!("process {}", std::process::id()).into(),
            prune_at: Arc::default(),
        }
    }

    /// With this name for the holder, by which people find it in table `saga_leases`. Otherwise it is the number of the process.
    #[must_use]
    pub fn named(self, holder: impl Into<Arc<str>>) -> Self {
        Self { holder: holder.into(), ..self }
    }

    /// Takes a key for so long, cut to whole milliseconds; `None` if somebody holds it. Whoever holds it already is somebody, too.
    ///
    /// After an error or a dropped future nobody knows whether it was taken; then it runs out by itself.
    ///
    /// # Errors
    /// When the database does not answer, or refuses: in PostgreSQL, a key longer than about 2,700 bytes.
    pub async fn acquire(
        &self,
        key: impl Into<Arc<str>>,
        ttl: Duration,
    ) -> Result<Option<KeyLease<DB>>, Error> {
        let key = key.into();
        let failed = |error| told(format!("the lease on {key:?} cannot be taken"), error);
        // What the database counts from is later.
        let asked = Instant::now();
        let ask = self.ask(Arc::clone(&key), ttl);
        let fencing = DB::acquire(&self.pool, &ask).await.map_err(failed)?;
        if self.is_prune_due() {
            DB::prune(&self.pool, ask.now).await.map_err(failed)?;
        }
        Ok(fencing.map(|fencing| KeyLease::new(self.clone(), key, fencing, asked, ttl)))
    }

    /// The connections to the database.
    pub const fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    fn ask(&self, key: Arc<str>, ttl: Duration) -> LeaseAsk {
        LeaseAsk {
            key,
            holder: Arc::clone(&self.holder),
            ttl_ms: i64::try_from(ttl.as_millis()).unwrap_or(TTL_MS_MAX).min(TTL_MS_MAX),
            now: to_column(self.clock.now()),
        }
    }

    fn is_prune_due(&self) -> bool {
        let mut prune_at = self.prune_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = prune_at.is_none_or(|at| at <= now);
        if is_due {
            *prune_at = Some(now + PRUNE_INTERVAL);
        }
        is_due
    }
}

impl<DB: Database> Clone for Leases<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            clock: Arc::clone(&self.clock),
            holder: Arc::clone(&self.holder),
            prune_at: Arc::clone(&self.prune_at),
        }
    }
}

/// Without the connection, whose URL may hold a password.
impl<DB: Database> fmt::Debug for Leases<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("database", &DB::NAME)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}
