//! Reading sagas.

use saga_core::Error;
use saga_core::ports::{Census, Query, Record, Summary};
use saga_core::record::SagaKey;
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{QueryBuilder, Row};

use super::log::Inner;
use crate::error::{copy, told};
use crate::reading::{Header, Part, assemble, definition, summary};
use crate::stored::{corrupt, named};

/// One row for each append to a saga; of a tombstone one row.
const LOAD: &str = "\
    SELECT k.at, s.run, s.status, s.version, s.wake_at, s.settled_at, s.input_digest, s.cause, s.changed_at, \
        d.no, d.name, d.version, d.digest, e.seq, e.format, e.entries \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (saga, id, at) \
    JOIN saga_log s ON s.saga = k.saga AND s.id = k.id \
    LEFT JOIN saga_log_definitions d ON d.no = s.definition \
    LEFT JOIN saga_log_entries e ON e.saga = s.no \
    WHERE s.settled_at IS NULL OR s.settled_at > saga_log_now() - $3 \
    ORDER BY k.at, e.seq";

const CENSUS: &str = "\
    SELECT d.no, d.name, d.version, d.digest, s.status, s.count \
    FROM (SELECT definition, status, count(*) AS count FROM saga_log \
        WHERE definition IS NOT NULL GROUP BY definition, status) s \
    JOIN saga_log_definitions d ON d.no = s.definition";

/// Runs a query that only reads.
async fn fetch(inner: &Inner, what: &str, query: QueryBuilder<Postgres>) -> Result<Vec<PgRow>, Error> {
    async fn all(
        connection: &mut PgConnection,
        what: &str,
        mut query: QueryBuilder<Postgres>,
    ) -> Result<Vec<PgRow>, Error> {
        query.build().fetch_all(connection).await.map_err(|error| told(what, error))
    }
    let mut lent = inner.database.lend(what).await?;
    let rows = inner.database.limit(what, all(&mut lent, what, query)).await?;
    lent.done();
    Ok(rows)
}

pub(super) async fn load(inner: &Inner, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
    let what = "sagas cannot be read from the saga log";
    let (names, ids): (Vec<_>, Vec<_>) = keys.iter().map(|key| (&*key.saga, key.id.as_str())).unzip();
    let load = async {
        let mut lent = inner.database.lend(what).await?;
        let query = sqlx::query(LOAD).bind(names).bind(ids).bind(window_ms(inner)).fetch_all(&mut *lent);
        let query = async { query.await.map_err(|error| told(what, error)) };
        let rows = inner.database.limit(what, query).await?;
        lent.done();
        Ok::<_, Error>(rows)
    };
    let rows = match load.await {
        Ok(rows) => rows,
        Err(error) => return keys.iter().map(|_| Err(copy(&error))).collect(),
    };
    let mut rows = rows.chunk_by(|a, b| a.get::<i64, _>(0) == b.get::<i64, _>(0)).peekable();
    let keys = keys.iter().enumerate().map(|(nth, key)| {
        let of_key = rows.next_if(|rows| rows[0].get::<i64, _>(0) == nth as i64 + 1);
        of_key.map(|rows| record(key, rows)).transpose()
    });
    keys.collect()
}

pub(super) fn window_ms(inner: &Inner) -> i64 {
    i64::try_from(inner.idempotency_window.as_millis()).unwrap_or(i64::MAX / 2)
}

fn record(key: &SagaKey, rows: &[PgRow]) -> Result<Record, Error> {
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

fn header(row: &PgRow) -> sqlx::Result<Header<'_>> {
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

fn part(row: &PgRow) -> sqlx::Result<Part<'_>> {
    Ok(Part { seq: row.try_get(13)?, format: row.try_get(14)?, entries: row.try_get(15)? })
}

pub(super) async fn list(inner: &Inner, query: Query) -> Result<Vec<Summary>, Error> {
    let mut sql = QueryBuilder::new(
        "SELECT s.saga, s.id, s.run, s.status, s.changed_at, s.wake_at, d.no, d.name, d.version, d.digest \
         FROM saga_log s LEFT JOIN saga_log_definitions d ON d.no = s.definition \
         WHERE (s.settled_at IS NULL OR s.settled_at > saga_log_now() - ",
    );
    sql.push_bind(window_ms(inner)).push(")");
    if let Some(saga) = query.saga {
        sql.push(" AND s.saga = ").push_bind(saga.to_string());
    }
    if let Some(status) = query.status {
        sql.push(" AND s.status = ").push_bind(status.to_string());
    }
    if let Some(after) = query.after {
        sql.push(" AND (s.saga, s.id) > (").push_bind(after.saga.to_string()).push(", ");
        sql.push_bind(after.id.to_string()).push(")");
    }
    sql.push(" ORDER BY s.saga, s.id LIMIT ").push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
    let rows = fetch(inner, "the sagas in the saga log cannot be listed", sql).await?;
    rows.iter().map(line).collect()
}

fn line(row: &PgRow) -> Result<Summary, Error> {
    let definition = match row.get::<Option<i64>, _>(6) {
        Some(no) => Some(definition(no, row.get(7), row.get(8), row.get(9))?),
        None => None,
    };
    let times = (row.get(4), row.get(5));
    summary(row.get(0), row.get(1), row.get(2), row.get(3), times, definition)
}

pub(super) async fn census(inner: &Inner) -> Result<Vec<Census>, Error> {
    let what = "the sagas in the saga log cannot be counted";
    let rows = fetch(inner, what, QueryBuilder::new(CENSUS)).await?;
    let lines = rows.iter().map(|row| {
        let definition = definition(row.get(0), row.get(1), row.get(2), row.get(3))?;
        let status = named("the status in table saga_log", row.get(4))?;
        Ok(Census { definition, status, count: row.get::<i64, _>(5).unsigned_abs() })
    });
    let mut lines = lines.collect::<Result<Vec<_>, Error>>()?;
    lines.sort_by(|a, b| (&a.definition, a.status).cmp(&(&b.definition, b.status)));
    Ok(lines)
}
