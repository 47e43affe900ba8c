//! The coordinators' leases.

use std::sync::Arc;
use std::time::Duration;

use saga_core::ports::Lease;
use saga_core::record::Timestamp;
use saga_core::{Error, ErrorKind};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::writer::Writer;
use crate::error::told;
use crate::stored::to_column;

/// For how long a lease that has run out is still shown.
const SHOWN_FOR_MS: i64 = 24 * 3_600_000;

pub(super) async fn lease(
    writer: &mut Writer,
    owner: &Arc<str>,
    epoch: Option<u64>,
    ttl: Duration,
) -> Result<Lease, Error> {
    let now = writer.clock.now();
    let until = now.after(ttl);
    let leased = match epoch {
        Some(epoch) => renew(writer.connection().await?, owner, epoch, now, until).await,
        None => begin(writer.connection().await?, owner, now, until).await,
    };
    match leased {
        Ok(Some(epoch)) => {
            writer.committed();
            writer.known.owners.insert(epoch, Arc::clone(owner));
            Ok(Lease { epoch, now, until })
        }
        Ok(None) => Err(run_out(owner, epoch.unwrap_or(0))),
        Err(error) => {
            writer.roll_back().await;
            Err(told(format!("the lease of coordinator {owner} cannot be taken"), error))
        }
    }
}

pub(super) fn run_out(owner: &str, epoch: u64) -> Error {
    let message = format!("lease {epoch} of coordinator {owner} has run out: begin a new one");
    Error::new(ErrorKind::Conflict, message)
}

async fn renew(
    connection: &mut SqliteConnection,
    owner: &Arc<str>,
    epoch: u64,
    now: Timestamp,
    until: Timestamp,
) -> sqlx::Result<Option<u64>> {
    let update = "UPDATE saga_log_leases SET until = ? WHERE epoch = ? AND owner = ? AND until > ?";
    let update = sqlx::query(update).bind(to_column(until)).bind(epoch as i64).bind(Arc::clone(owner));
    let done = update.bind(to_column(now)).execute(connection).await?;
    Ok((done.rows_affected() > 0).then_some(epoch))
}

async fn begin(
    connection: &mut SqliteConnection,
    owner: &Arc<str>,
    now: Timestamp,
    until: Timestamp,
) -> sqlx::Result<Option<u64>> {
    let now = to_column(now);
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let end = sqlx::query("UPDATE saga_log_leases SET until = min(until, ?) WHERE owner = ?");
    end.bind(now).bind(Arc::clone(owner)).execute(&mut *connection).await?;
    let forget = sqlx::query("DELETE FROM saga_log_leases WHERE until < ?").bind(now - SHOWN_FOR_MS);
    forget.execute(&mut *connection).await?;
    let insert = sqlx::query("INSERT INTO saga_log_leases (owner, until) VALUES (?, ?) RETURNING epoch");
    let insert = insert.bind(Arc::clone(owner)).bind(to_column(until));
    let epoch: i64 = insert.fetch_one(&mut *connection).await?.get(0);
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(Some(epoch.unsigned_abs()))
}

pub(super) async fn release(writer: &mut Writer, owner: &Arc<str>, epoch: u64) -> Result<(), Error> {
    let now = to_column(writer.clock.now());
    let update = "UPDATE saga_log_leases SET until = ?1 WHERE epoch = ?2 AND owner = ?3 AND until > ?1";
    let update = sqlx::query(update).bind(now).bind(epoch as i64).bind(Arc::clone(owner));
    let released = update.execute(writer.connection().await?).await.map(|_| writer.committed());
    released.map_err(|error| told(format!("the lease of coordinator {owner} cannot be given back"), error))
}
