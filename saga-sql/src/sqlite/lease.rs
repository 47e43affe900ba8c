//! The coordinators' leases.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use saga_core::ports::Lease;
use saga_core::record::Timestamp;
use saga_core::{Error, ErrorKind};

use super::writer::Writer;
use crate::error::told;
use crate::stored::to_column;

/// For how long a lease that has run out is still shown.
const SHOWN_FOR_MS: i64 = 24 * 3_600_000;

pub(super) fn lease(
    writer: &mut Writer,
    owner: &Arc<str>,
    epoch: Option<u64>,
    ttl: Duration,
) -> Result<Lease, Error> {
    let now = writer.clock.now();
    let until = now.after(ttl);
    let leased = match epoch {
        Some(epoch) => renew(&writer.connection, owner, epoch, now, until),
        None => begin(writer, owner, now, until),
    };
    match leased {
        Ok(Some(epoch)) => {
            writer.committed();
            writer.known.owners.insert(epoch, Arc::clone(owner));
            Ok(Lease { epoch, now, until })
        }
        Ok(None) => Err(run_out(owner, epoch.unwrap_or(0))),
        Err(error) => {
            writer.roll_back();
            Err(told(format!("the lease of coordinator {owner} cannot be taken"), error))
        }
    }
}

pub(super) fn run_out(owner: &str, epoch: u64) -> Error {
    let message = format!("lease {epoch} of coordinator {owner} has run out: begin a new one");
    Error::new(ErrorKind::Conflict, message)
}

fn renew(
    connection: &Connection,
    owner: &Arc<str>,
    epoch: u64,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let update = "UPDATE saga_log_leases SET until = ? WHERE epoch = ? AND owner = ? AND until > ?";
    let row = (to_column(until), epoch as i64, &**owner, to_column(now));
    let renewed = connection.prepare_cached(update)?.execute(row)?;
    Ok((renewed > 0).then_some(epoch))
}

fn begin(
    writer: &Writer,
    owner: &Arc<str>,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let (now, connection) = (to_column(now), &writer.connection);
    writer.begin()?;
    connection
        .execute("UPDATE saga_log_leases SET until = min(until, ?) WHERE owner = ?", (now, &**owner))?;
    connection.execute("DELETE FROM saga_log_leases WHERE until < ?", [now - SHOWN_FOR_MS])?;
    let insert = "INSERT INTO saga_log_leases (owner, until) VALUES (?, ?) RETURNING epoch";
    let epoch: i64 = connection.query_one(insert, (&**owner, to_column(until)), |row| row.get(0))?;
    writer.commit()?;
    Ok(Some(epoch.unsigned_abs()))
}

pub(super) fn release(writer: &Writer, owner: &Arc<str>, epoch: u64) -> Result<(), Error> {
    let now = to_column(writer.clock.now());
    let update = "UPDATE saga_log_leases SET until = ?1 WHERE epoch = ?2 AND owner = ?3 AND until > ?1";
    let released = writer.connection.execute(update, (now, epoch as i64, &**owner));
    let released = released.map(|_| writer.committed());
    released.map_err(|error| told(format!("the lease of coordinator {owner} cannot be given back"), error))
}
