//! The group commit.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use saga_core::ports::{Append, AppendError, Version};
use saga_core::record::{DefinitionRef, RunId, SagaKey, Timestamp};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::connect::TimedOut;
use super::log::Inner;
use super::write::{insert_new, write_known};
use super::{audit, swift};
use crate::error::{may_be_one_of_many, told};
use crate::plan::{Before, Failure, Filed, Line, Live, Plan, What};
use crate::reading::definition;
use crate::stored::{corrupt, from_column};

type Answers = Vec<Result<Version, AppendError>>;

/// The time, and how the sagas of these keys are filed, under lock, in one order for everybody.
const READ: &str = "\
    SELECT n.now, s.at, s.no, s.run, s.definition, s.version, s.changed_at, s.line_at, s.owner, s.settled_at \
    FROM (SELECT saga_log_now() AS now) n LEFT JOIN LATERAL ( \
        SELECT k.at, l.* FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (saga, id, at) \
        JOIN saga_log l ON l.saga = k.saga AND l.id = k.id ORDER BY l.no FOR UPDATE OF l) s ON true";

pub(super) const WHAT: &str = "the append to the saga log failed";

/// Appends a batch. What is usual takes one statement; whatever does not fit in there goes through a transaction, in which it is read, planned and
/// written, and which says what is wrong with it.
pub(super) async fn commit(inner: &Inner, mut batch: Vec<Append>) -> Answers {
    let swift = match attempt_swiftly(inner, &batch).await {
        Ok(answers) => answers,
        // Nothing has taken effect: each is looked at by itself.
        Err(Failure::Before(error)) if may_be_one_of_many(&error) => vec![None; batch.len()],
        Err(failure) => return failure.answers(batch.len()),
    };
    let mut places = swift.iter();
    batch.retain(|_| places.next().is_some_and(Option::is_none));
    let others = if batch.is_empty() { Vec::new() } else { commit_planned(inner, batch).await };
    let mut others = others.into_iter();
    let answers =
        swift.into_iter().map(|version| version.map_or_else(|| others.next(), |version| Some(Ok(version))));
    answers.map(|answer| answer.expect("one for each append")).collect()
}

/// Appends a batch in one transaction. If one append is not to be had, the others are committed without it.
fn commit_planned(inner: &Inner, batch: Vec<Append>) -> BoxFuture<'_, Answers> {
    async move {
        match attempt(inner, &batch).await {
            Ok(answers) => answers,
            Err(Failure::Before(error)) if may_be_one_of_many(&error) && batch.len() > 1 => {
                let mut first = batch;
                let second = first.split_off(first.len() / 2);
                let mut answers = commit_planned(inner, first).await;
                answers.extend(commit_planned(inner, second).await);
                answers
            }
            Err(failure) => failure.answers(batch.len()),
        }
    }
    .boxed()
}

impl From<TimedOut> for Failure {
    fn from(TimedOut(error): TimedOut) -> Self {
        Self::Committing(error)
    }
}

async fn attempt_swiftly(inner: &Inner, batch: &[Append]) -> Result<Vec<Option<Version>>, Failure> {
    let mut lent = inner.database.lend(WHAT).await?;
    let work = async {
        number(inner, &mut lent, batch).await?;
        read_owners(inner, &mut lent, batch).await?;
        swift::append(inner, &mut lent, batch).await
    };
    let answers = inner.database.limit(WHAT, work).await?;
    lent.done();
    Ok(answers)
}

async fn attempt(inner: &Inner, batch: &[Append]) -> Result<Answers, Failure> {
    let mut lent = inner.database.lend(WHAT).await?;
    let answers = inner.database.limit(WHAT, transact(inner, &mut lent, batch)).await?;
    lent.done();
    Ok(answers)
}

async fn transact(
    inner: &Inner,
    connection: &mut PgConnection,
    batch: &[Append],
) -> Result<Answers, Failure> {
    let failed = |error| Failure::Before(told(WHAT, error));
    number(inner, connection, batch).await?;
    read_owners(inner, connection, batch).await?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let (now, filed) = read(inner, &mut transaction, batch).await?;
    let mut plan = {
        let known = inner.known();
        let owner = |name: &str, epoch| {
            if known.owners.get(&epoch).is_some_and(|owner| **owner == *name) { epoch } else { 0 }
        };
        let idempotency_window = inner.idempotency_window;
        Plan::of(batch, Before { filed, now, idempotency_window, owner: &owner })
    };
    let changes = std::mem::take(&mut plan.changes);
    let (known, new): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.no.is_some());
    if !new.is_empty() {
        for lost in insert_new(inner, &mut transaction, new, now).await? {
            plan.lost(&lost);
        }
    }
    if !known.is_empty() {
        write_known(inner, &mut transaction, known, now).await?;
    }
    audit::file(inner, &mut transaction, batch, &plan.answers).await?;
    let committed = transaction.commit().await;
    committed.map_err(|error| Failure::Committing(told("the commit to the saga log failed", error)))?;
    Ok(plan.answers)
}

async fn read(
    inner: &Inner,
    connection: &mut PgConnection,
    batch: &[Append],
) -> Result<(Timestamp, HashMap<SagaKey, Filed>), Error> {
    let (names, ids): (Vec<_>, Vec<_>) =
        batch.iter().map(|append| (&*append.key.saga, append.key.id.as_str())).unzip();
    let query = sqlx::query(READ).bind(names).bind(ids).fetch_all(&mut *connection).await;
    let rows = query.map_err(|error| told("the saga log cannot be read before an append", error))?;
    let now = from_column(rows.first().map(|row| row.get(0)).unwrap_or_default());
    let definition_of = |row: &PgRow| row.get::<Option<i64>, _>(4);
    let all_known = {
        let known = inner.known();
        rows.iter().filter_map(definition_of).all(|no| known.definitions.contains_key(&no))
    };
    if !all_known {
        read_definitions(inner, connection).await?;
    }
    let known = inner.known();
    let mut filed = HashMap::new();
    for row in &rows {
        let Some(at) = row.get::<Option<i64>, _>(1) else { continue };
        let definition = definition_of(row).and_then(|no| known.definitions.get(&no));
        filed.insert(batch[at.unsigned_abs() as usize - 1].key.clone(), filed_of(row, definition)?);
    }
    Ok((now, filed))
}

fn filed_of(row: &PgRow, definition: Option<&DefinitionRef>) -> Result<Filed, Error> {
    let no = row.get(2);
    let broken = |what: &str| corrupt(format!("row {no} of table saga_log has {what}"));
    if let Some(settled_at) = row.get::<Option<i64>, _>(9) {
        return Ok(Filed { no, what: What::Tomb(from_column(settled_at)) });
    }
    let run: &str = row.get(3);
    Ok(Filed {
        no,
        what: What::Live(Live {
            run: run.parse::<RunId>().map_err(|_| broken("no run id"))?,
            definition: definition.cloned().ok_or_else(|| broken("no definition"))?,
            version: row.get::<i64, _>(5).unsigned_abs(),
            changed_at: from_column(row.get(6)),
            line: Line {
                at: row.get::<Option<i64>, _>(7).map(from_column),
                owner: row.get::<i64, _>(8).unsigned_abs(),
            },
        }),
    })
}

/// The definitions of a batch get a number if they have none.
async fn number(inner: &Inner, connection: &mut PgConnection, batch: &[Append]) -> Result<(), Error> {
    let unknown = |append: &&Append| !inner.known().numbers.contains_key(&append.definition);
    for append in batch.iter().filter(unknown).collect::<Vec<_>>() {
        let definition = &append.definition;
        if inner.known().numbers.contains_key(definition) {
            continue;
        }
        let insert = "INSERT INTO saga_log_definitions (name, version, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let insert = sqlx::query(insert)
            .bind(&*definition.name)
            .bind(i64::from(definition.version))
            .bind(definition.digest.to_string());
        let inserted = insert.execute(&mut *connection).await;
        inserted.map_err(|error| told(format!("definition {definition} cannot be filed"), error))?;
        read_definitions(inner, connection).await?;
    }
    Ok(())
}

/// Reads all definitions that the log knows: they are few.
pub(super) async fn read_definitions(inner: &Inner, connection: &mut PgConnection) -> Result<(), Error> {
    let query = sqlx::query("SELECT no, name, version, digest FROM saga_log_definitions");
    let rows = query.fetch_all(connection).await;
    let rows = rows.map_err(|error| told("the definitions in the saga log cannot be read", error))?;
    let mut known = inner.known();
    for row in rows {
        let no = row.get(0);
        let definition = definition(no, row.get(1), row.get(2), row.get(3))?;
        known.numbers.insert(definition.clone(), no);
        known.definitions.insert(no, definition);
    }
    Ok(())
}

/// Reads whose the batch's leases are, unless it is known.
async fn read_owners(inner: &Inner, connection: &mut PgConnection, batch: &[Append]) -> Result<(), Error> {
    let all_known = {
        let known = inner.known();
        let owners = batch.iter().filter_map(|append| append.owner.as_ref());
        owners.into_iter().all(|(_, epoch)| known.owners.contains_key(epoch))
    };
    if all_known {
        return Ok(());
    }
    let rows = sqlx::query("SELECT epoch, owner FROM saga_log_leases").fetch_all(connection).await;
    let rows = rows.map_err(|error| told("the leases in the saga log cannot be read", error))?;
    let mut known = inner.known();
    for row in rows {
        let (epoch, owner): (i64, String) = (row.get(0), row.get(1));
        known.owners.insert(epoch.unsigned_abs(), Arc::from(owner));
    }
    Ok(())
}
