//! The coordinators' leases.

use std::time::Duration;

use saga_core::ports::Lease;
use saga_core::{Error, ErrorKind};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::log::Inner;
use crate::error::told;
use crate::stored::from_column;

/// For how long a lease that has run out is still shown.
const SHOWN_FOR_MS: i64 = 24 * 3_600_000;

const RENEW: &str = "\
    UPDATE saga_log_leases SET until = n.now + $3 FROM (SELECT saga_log_now() AS now) n \
    WHERE epoch = $1 AND owner = $2 AND until > n.now RETURNING epoch, n.now, until";

const BEGIN: &str = "\
    INSERT INTO saga_log_leases (owner, until) SELECT $1, n.now + $2 FROM (SELECT saga_log_now() AS now) n \
    RETURNING epoch, until - $2, until";

pub(super) async fn lease(
    inner: &Inner,
    owner: &str,
    epoch: Option<u64>,
    ttl: Duration,
) -> Result<Lease, Error> {
    // Some thousand years will do, and leave room to add them to the time.
    const TTL_MS_MAX: i64 = i64::MAX / 4;
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(TTL_MS_MAX).min(TTL_MS_MAX);
    let what = format!("the lease of coordinator {owner} cannot be taken");
    let mut lent = inner.database.lend(&what).await?;
    let leased = inner.database.limit(&what, take(&mut lent, owner, epoch, ttl_ms, &what)).await?;
    lent.done();
    let row = leased.ok_or_else(|| run_out(owner, epoch.unwrap_or(0)))?;
    let lease = Lease {
        epoch: row.get::<i64, _>(0).unsigned_abs(),
        now: from_column(row.get(1)),
        until: from_column(row.get(2)),
    };
    inner.known().owners.insert(lease.epoch, owner.into());
    Ok(lease)
}

pub(super) fn run_out(owner: &str, epoch: u64) -> Error {
    let message = format!("lease {epoch} of coordinator {owner} has run out: begin a new one");
    Error::new(ErrorKind::Conflict, message)
}

async fn take(
    connection: &mut PgConnection,
    owner: &str,
    epoch: Option<u64>,
    ttl_ms: i64,
    what: &str,
) -> Result<Option<PgRow>, Error> {
    let taken = match epoch {
        None => begin(connection, owner, ttl_ms).await.map(Some),
        Some(epoch) => {
            let renew = sqlx::query(RENEW).bind(epoch as i64).bind(owner).bind(ttl_ms);
            renew.fetch_optional(connection).await
        }
    };
    taken.map_err(|error| told(what, error))
}

async fn begin(connection: &mut PgConnection, owner: &str, ttl_ms: i64) -> sqlx::Result<PgRow> {
    let mut transaction = connection.begin().await?;
    // Whoever begins a lease of the same name at the same time comes before or after.
    let lock = sqlx::raw_sql("LOCK TABLE saga_log_leases IN SHARE ROW EXCLUSIVE MODE");
    lock.execute(&mut *transaction).await?;
    let end = "UPDATE saga_log_leases SET until = saga_log_now() WHERE owner = $1 AND until > saga_log_now()";
    sqlx::query(end).bind(owner).execute(&mut *transaction).await?;
    let forget = sqlx::query("DELETE FROM saga_log_leases WHERE until < saga_log_now() - $1");
    forget.bind(SHOWN_FOR_MS).execute(&mut *transaction).await?;
    let row = sqlx::query(BEGIN).bind(owner).bind(ttl_ms).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(row)
}

pub(super) async fn release(inner: &Inner, owner: &str, epoch: u64) -> Result<(), Error> {
    let what = format!("the lease of coordinator {owner} cannot be given back");
    let mut lent = inner.database.lend(&what).await?;
    let update = "UPDATE saga_log_leases SET until = saga_log_now() \
        WHERE epoch = $1 AND owner = $2 AND until > saga_log_now()";
    let update = sqlx::query(update).bind(epoch as i64).bind(owner).execute(&mut *lent);
    let update = async { update.await.map(drop).map_err(|error| told(&what, error)) };
    inner.database.limit(&what, update).await?;
    lent.done();
    Ok(())
}
