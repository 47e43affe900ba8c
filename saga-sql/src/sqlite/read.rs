//! Reading sagas, beside the writer.

use std::time::Duration;

use saga_core::Error;
use saga_core::ports::{Census, Query, Record, Summary};
use saga_core::record::{Outline, SagaKey, Timestamp};
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::error::{copy, told};
use crate::reading::{Header, Part, assemble, definition, summary};
use crate::stored::{corrupt, named, read_outline, to_column};

/// One row for each append to a saga; of a tombstone one row.
const LOAD: &str = "\
    SELECT k.key, s.run, s.status, s.version, s.wake_at, s.settled_at, s.input_digest, s.cause, s.changed_at, \
        d.no, d.name, d.version, d.digest, e.seq, e.format, e.entries \
    FROM json_each(?1) k \
    CROSS JOIN saga_log s ON s.saga = k.value ->> 0 AND s.id = k.value ->> 1 \
    LEFT JOIN saga_log_definitions d ON d.no = s.definition \
    LEFT JOIN saga_log_entries e ON e.place BETWEEN s.no << 20 AND (s.no << 20) + 1048575 \
    WHERE s.settled_at IS NULL OR s.settled_at > ?2 \
    ORDER BY k.key, e.place";

const CENSUS: &str = "\
    SELECT d.no, d.name, d.version, d.digest, s.status, count(*) FROM saga_log s \
    JOIN saga_log_definitions d ON d.no = s.definition \
    WHERE s.definition IS NOT NULL GROUP BY s.definition, s.status";

pub(super) async fn load(
    readers: &SqlitePool,
    keys: &[SagaKey],
    now: Timestamp,
    window: Duration,
) -> Vec<Result<Option<Record>, Error>> {
    let names: Vec<_> = keys.iter().map(|key| [&*key.saga, key.id.as_str()]).collect();
    let names = serde_json::to_string(&names).expect("texts can be written");
    let query = sqlx::query(LOAD).bind(names).bind(kept_since(now, window));
    let rows = match query.fetch_all(readers).await {
        Ok(rows) => rows,
        Err(error) => {
            let error = told("sagas cannot be read from the saga log", error);
            return keys.iter().map(|_| Err(copy(&error))).collect();
        }
    };
    let mut rows = rows.chunk_by(|a, b| a.get::<i64, _>(0) == b.get::<i64, _>(0)).peekable();
    let keys = keys.iter().enumerate().map(|(nth, key)| {
        let of_key = rows.next_if(|rows| rows[0].get::<i64, _>(0) == nth as i64);
        of_key.map(|rows| record(key, rows)).transpose()
    });
    keys.collect()
}

fn record(key: &SagaKey, rows: &[SqliteRow]) -> Result<Record, Error> {
    let first = rows.first().expect("one row at least");
    let header = header(first).map_err(|error| unreadable(key, error))?;
    let parts = rows.iter().filter(|row| row.get::<Option<i64>, _>(13).is_some());
    let parts = parts.map(part).collect::<sqlx::Result<Vec<_>>>().map_err(|error| unreadable(key, error))?;
    let definition = match first.get::<Option<i64>, _>(9) {
        Some(no) => Some(definition(no, first.get(10), first.get(11), first.get(12))?),
        None => None,
    };
    assemble(key, header, definition, &parts)
}

fn unreadable(key: &SagaKey, error: sqlx::Error) -> Error {
    corrupt(format!("saga {key}: its rows cannot be read")).with_source(error)
}

fn header(row: &SqliteRow) -> sqlx::Result<Header<'_>> {
    Ok(Header {
        run: row.try_get(1)?,
        status: row.try_get(2)?,
        version: row.try_get(3)?,
        wake_at: row.try_get(4)?,
        settled_at: row.try_get(5)?,
        input_digest: row.try_get(6)?,
        cause: row.try_get(7)?,
        changed_at: row.try_get(8)?,
    })
}

fn part(row: &SqliteRow) -> sqlx::Result<Part<'_>> {
    Ok(Part { seq: row.try_get(13)?, format: row.try_get(14)?, entries: row.try_get(15)? })
}

pub(super) async fn list(
    readers: &SqlitePool,
    query: Query,
    now: Timestamp,
    window: Duration,
) -> Result<Vec<Summary>, Error> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT s.saga, s.id, s.run, s.status, s.changed_at, s.wake_at, d.no, d.name, d.version, d.digest \
         FROM saga_log s LEFT JOIN saga_log_definitions d ON d.no = s.definition \
         WHERE (s.settled_at IS NULL OR s.settled_at > ",
    );
    sql.push_bind(kept_since(now, window)).push(")");
    if let Some(saga) = query.saga {
        sql.push(" AND s.saga = ").push_bind(saga);
    }
    if let Some(status) = query.status {
        sql.push(" AND s.status = ").push_bind(status.to_string());
    }
    if let Some(after) = query.after {
        sql.push(" AND (s.saga, s.id) > (").push_bind(after.saga).push(", ");
        sql.push_bind(after.id.shared()).push(")");
    }
    sql.push(" ORDER BY s.saga, s.id LIMIT ").push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
    let rows = sql.build().fetch_all(readers).await;
    let rows = rows.map_err(|error| told("the sagas in the saga log cannot be listed", error))?;
    rows.iter().map(line).collect()
}

fn line(row: &SqliteRow) -> Result<Summary, Error> {
    let definition = match row.get::<Option<i64>, _>(6) {
        Some(no) => Some(definition(no, row.get(7), row.get(8), row.get(9))?),
        None => None,
    };
    let times = (row.get(4), row.get(5));
    summary(row.get(0), row.get(1), row.get(2), row.get(3), times, definition)
}

pub(super) async fn census(readers: &SqlitePool) -> Result<Vec<Census>, Error> {
    let rows = sqlx::query(CENSUS).fetch_all(readers).await;
    let rows = rows.map_err(|error| told("the sagas in the saga log cannot be counted", error))?;
    let lines = rows.iter().map(|row| {
        let definition = definition(row.get(0), row.get(1), row.get(2), row.get(3))?;
        let status = named("the status in table saga_log", row.get(4))?;
        Ok(Census { definition, status, count: row.get::<i64, _>(5).unsigned_abs() })
    });
    let mut lines = lines.collect::<Result<Vec<_>, Error>>()?;
    lines.sort_by(|a, b| (&a.definition, a.status).cmp(&(&b.definition, b.status)));
    Ok(lines)
}

pub(super) async fn outlines(readers: &SqlitePool) -> Result<Vec<Outline>, Error> {
    let query = "\
        SELECT name, version, digest, outline FROM saga_log_definitions WHERE outline IS NOT NULL \
        ORDER BY name, version, digest";
    let rows = sqlx::query(query).fetch_all(readers).await;
    let rows =
        rows.map_err(|error| told("the outlines of definitions cannot be read from the saga log", error))?;
    Ok(rows.iter().filter_map(|row| read_outline(row.get(0), row.get(3))).collect())
}

/// Tombstones set up after this moment still stand.
pub(super) fn kept_since(now: Timestamp, window: Duration) -> i64 {
    to_column(now).saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
}
