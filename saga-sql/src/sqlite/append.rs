//! The group commit.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga_core::Error;
use saga_core::ports::{Append, AppendError, Version};
use saga_core::record::{RunId, SagaKey, Status};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Row};

use super::audit;
use super::program::{Program, ROWS_MAX, Statement};
use super::writer::Writer;
use crate::error::{may_be_one_of_many, told};
use crate::plan::{Before, Change, Failure, Fate, Filed, Kept, Line, Live, Plan, What};
use crate::stored::{FORMAT, corrupt, from_column, to_column, write_cause, write_digest};

/// How many entries a saga can have: what is left of a place beside its number.
const ENTRIES_MAX: Version = 1 << 20;

type Answers = Vec<Result<Version, AppendError>>;

/// Appends a batch in one transaction. If one append is not to be had, the others are committed without it.
pub(super) fn commit(writer: &mut Writer, batch: Vec<Append>) -> BoxFuture<'_, Answers> {
    async move {
        match transact(writer, &batch).await {
            Ok(answers) => answers,
            Err(Failure::Before(error)) if may_be_one_of_many(&error) && batch.len() > 1 => {
                writer.roll_back().await;
                let mut first = batch;
                let second = first.split_off(first.len() / 2);
                let mut answers = commit(writer, first).await;
                answers.extend(commit(writer, second).await);
                answers
            }
            Err(failure) => {
                writer.roll_back().await;
                failure.answers(batch.len())
            }
        }
    }
    .boxed()
}

async fn transact(writer: &mut Writer, batch: &[Append]) -> Result<Answers, Failure> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let definitions: Vec<_> = batch.iter().map(|append| &append.definition).collect();
    writer.number(&definitions).await?;
    let (highest, filed) = read(writer, batch).await?;
    read_owners(writer, batch).await?;
    let owners = &writer.known.owners;
    let owner = |name: &str, epoch| {
        if owners.get(&epoch).is_some_and(|owner| **owner == *name) { epoch } else { 0 }
    };
    let now = writer.clock.now();
    let before = Before { filed, now, idempotency_window: writer.idempotency_window, owner: &owner };
    let mut plan = Plan::of(batch, before);
    let mut rows = Rows::default();
    let mut next = highest + 1;
    for change in std::mem::take(&mut plan.changes) {
        let no = change.no.unwrap_or(next);
        next = next.max(no + 1);
        rows.take(writer, no, change, to_column(now))?;
    }
    let is_written = !rows.is_empty();
    if is_written {
        write(writer, rows).await?;
    }
    audit::file(writer, batch, &plan.answers).await?;
    let connection = writer.connection().await?;
    let committed = sqlx::raw_sql("COMMIT").execute(&mut *connection).await;
    committed.map_err(|error| Failure::Committing(told("the commit to the saga log failed", error)))?;
    if is_written {
        writer.committed();
    }
    Ok(plan.answers)
}

/// Begins the transaction, and reads the highest number given and how the batch's sagas are filed.
async fn read(writer: &mut Writer, batch: &[Append]) -> Result<(i64, HashMap<SagaKey, Filed>), Error> {
    let failed = |error| told("the saga log cannot be read before an append", error);
    let mut highest = 0;
    let mut rows = Vec::new();
    for (nth, chunk) in batch.chunks(ROWS_MAX).enumerate() {
        let (size, statement) = match nth {
            0 => fitting(&writer.programs, chunk.len(), |program| &program.begin),
            _ => fitting(&writer.programs, chunk.len(), |program| &program.read),
        };
        let mut cells = Cells::default();
        for (at, append) in chunk.iter().enumerate() {
            let place = (nth * ROWS_MAX + at) as i64;
            cells.text(Arc::clone(&append.key.saga)).text(append.key.id.shared()).number(place);
        }
        let query = cells.query(size, statement);
        for row in query.fetch_all(writer.connection().await?).await.map_err(failed)? {
            if row.get::<i64, _>(0) < 0 {
                highest = row.get(1);
            } else {
                rows.push(row);
            }
        }
    }
    let is_unknown = |row: &SqliteRow| {
        row.get::<Option<i64>, _>(3).is_some_and(|no| writer.known.definition(no).is_none())
    };
    if rows.iter().any(is_unknown) {
        writer.read_definitions().await?;
    }
    let key = |row: &SqliteRow| batch[row.get::<i64, _>(0).unsigned_abs() as usize].key.clone();
    let filed = rows.iter().map(|row| Ok((key(row), filed(writer, row)?)));
    Ok((highest, filed.collect::<Result<_, Error>>()?))
}

/// A row of the read program: its place in the batch, no, run, definition, version, changed_at, line_at, owner, settled_at.
fn filed(writer: &Writer, row: &SqliteRow) -> Result<Filed, Error> {
    let no = row.get(1);
    let broken = |what: &str| corrupt(format!("row {no} of table saga_log has {what}"));
    if let Some(settled_at) = row.get::<Option<i64>, _>(8) {
        return Ok(Filed { no, what: What::Tomb(from_column(settled_at)) });
    }
    let definition = row.get::<Option<i64>, _>(3).and_then(|no| writer.known.definition(no));
    let run: &str = row.get(2);
    Ok(Filed {
        no,
        what: What::Live(Live {
            run: run.parse::<RunId>().map_err(|_| broken("no run id"))?,
            definition: definition.cloned().ok_or_else(|| broken("no definition"))?,
            version: row.get::<i64, _>(4).unsigned_abs(),
            changed_at: from_column(row.get(5)),
            line: Line {
                at: row.get::<Option<i64>, _>(6).map(from_column),
                owner: row.get::<i64, _>(7).unsigned_abs(),
            },
        }),
    })
}

/// Reads whose the batch's leases are, unless it is known.
async fn read_owners(writer: &mut Writer, batch: &[Append]) -> Result<(), Error> {
    let is_known = |append: &Append| {
        append.owner.as_ref().is_none_or(|(_, epoch)| writer.known.owners.contains_key(epoch))
    };
    if batch.iter().all(is_known) {
        return Ok(());
    }
    let connection = writer.connection().await?;
    let rows = sqlx::query("SELECT epoch, owner FROM saga_log_leases").fetch_all(connection).await;
    for row in rows.map_err(|error| told("the leases in the saga log cannot be read", error))? {
        let owner: String = row.get(1);
        writer.known.owners.insert(row.get::<i64, _>(0).unsigned_abs(), owner.into());
    }
    Ok(())
}

/// What is to be written, as rows of arguments.
#[derive(Default)]
struct Rows {
    filed: Vec<FiledRow>,
    updated: Vec<(i64, Box<Kept>)>,
    entries: Vec<(i64, String)>,
    deleted: Vec<i64>,
}

struct FiledRow {
    no: i64,
    key: SagaKey,
    definition: Option<i64>,
    settled: Option<Settled>,
    kept: Kept,
}

struct Settled {
    at: i64,
    digest: String,
    cause: Option<String>,
}

impl Rows {
    const fn is_empty(&self) -> bool {
        self.filed.is_empty() && self.updated.is_empty()
    }

    fn take(&mut self, writer: &Writer, no: i64, change: Change, now: i64) -> Result<(), Error> {
        let Change { key, had_entries, fate, .. } = change;
        match fate {
            Fate::Settled(tombstone) => {
                if had_entries {
                    self.deleted.push(no << 20);
                }
                let cause = tombstone.cause.as_deref().map(|cause| write_cause(&key, cause)).transpose()?;
                let settled = Settled { at: now, digest: write_digest(tombstone.input_digest), cause };
                let kept = Kept {
                    run: tombstone.run,
                    // Not stored.
                    definition: saga_core::record::DefinitionRef {
                        name: Arc::clone(&key.saga),
                        version: 0,
                        digest: saga_core::record::Digest(0),
                    },
                    version: 0,
                    status: Status::from(tombstone.ending),
                    changed_at: tombstone.ended_at,
                    wake_at: None,
                    line: Line::default(),
                    is_refiled: true,
                    entries: Vec::new(),
                };
                self.filed.push(FiledRow { no, key, definition: None, settled: Some(settled), kept });
            }
            Fate::Live(mut kept) => {
                if kept.version > ENTRIES_MAX {
                    let message = format!("saga {key} has more than {ENTRIES_MAX} entries: it cannot go on");
                    return Err(Error::new(saga_core::ErrorKind::Permanent, message));
                }
                let texts = std::mem::take(&mut kept.entries).into_iter();
                self.entries.extend(texts.map(|(seq, text)| (no << 20 | seq as i64, text)));
                if kept.is_refiled {
                    let definition = writer.known.number(&kept.definition);
                    self.filed.push(FiledRow { no, key, definition, settled: None, kept: *kept });
                } else {
                    self.updated.push((no, kept));
                }
            }
        }
        Ok(())
    }
}

/// Writes everything, in as many rounds as it takes.
async fn write(writer: &mut Writer, rows: Rows) -> Result<(), Error> {
    run(writer, rows.filed, |program| &program.file, file).await?;
    run(
        writer,
        rows.updated,
        |program| &program.update,
        |(no, kept), row| {
            row.number(no).number(kept.version as i64).text(kept.status.to_string());
            row.number(to_column(kept.changed_at)).maybe(kept.wake_at.map(to_column));
        },
    )
    .await?;
    run(
        writer,
        rows.entries,
        |program| &program.insert_entries,
        |(place, text), row| {
            row.number(place).number(FORMAT).text(text);
        },
    )
    .await?;
    run(
        writer,
        rows.deleted,
        |program| &program.delete_entries,
        |place, row| {
            row.number(place);
        },
    )
    .await
}

/// Runs one kind of statement on all its rows.
async fn run<T>(
    writer: &mut Writer,
    rows: Vec<T>,
    which: impl Fn(&Program) -> &Statement,
    fill: impl Fn(T, &mut Cells),
) -> Result<(), Error> {
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let (size, statement) = fitting(&writer.programs, rows.len(), &which);
        let mut cells = Cells::default();
        rows.by_ref().take(size).for_each(|row| fill(row, &mut cells));
        let query = cells.query(size, statement);
        let done = query.execute(writer.connection().await?).await;
        done.map_err(|error| told("the append to the saga log failed", error))?;
    }
    Ok(())
}

/// The smallest program that takes so many rows, or else the largest.
fn fitting(programs: &[Program], rows: usize, which: impl Fn(&Program) -> &Statement) -> (usize, &Statement) {
    let program = programs.iter().find(|program| program.rows >= rows);
    let program = program.unwrap_or_else(|| programs.last().expect("there are some"));
    (program.rows, which(program))
}

fn file(row: FiledRow, to: &mut Cells) {
    let FiledRow { no, key, definition, settled, kept } = row;
    let settled_at = settled.as_ref().map(|settled| settled.at);
    let (digest, cause) = settled.map_or((None, None), |settled| (Some(settled.digest), settled.cause));
    to.number(no).text(key.saga).text(key.id.shared()).text(kept.run.to_string());
    to.text(kept.status.to_string()).maybe(definition).number(kept.version as i64);
    to.number(to_column(kept.changed_at)).maybe(kept.wake_at.map(to_column));
    to.maybe(kept.line.at.map(to_column)).number(kept.line.owner as i64);
    to.maybe(settled_at).maybe(digest).maybe(cause);
}

/// The arguments of a statement.
#[derive(Default)]
struct Cells {
    arguments: SqliteArguments,
    count: usize,
}

impl Cells {
    fn text<T>(&mut self, text: T) -> &mut Self
    where
        T: sqlx::Encode<'static, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.add(text)
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.add(number)
    }

    fn maybe<T>(&mut self, value: Option<T>) -> &mut Self
    where
        T: sqlx::Encode<'static, Sqlite> + sqlx::Type<Sqlite> + 'static,
    {
        self.add(value)
    }

    fn add<T>(&mut self, value: T) -> &mut Self
    where
        T: sqlx::Encode<'static, Sqlite> + sqlx::Type<Sqlite>,
    {
        self.arguments.add(value).expect("texts and numbers can be written");
        self.count += 1;
        self
    }

    /// The statement, padded with empty rows to as many as it takes.
    fn query(mut self, rows: usize, statement: &Statement) -> Query<'static, Sqlite, SqliteArguments> {
        while self.count < rows * statement.columns {
            self.maybe(None::<i64>);
        }
        sqlx::query_with(AssertSqlSafe(Arc::clone(&statement.sql)), self.arguments)
    }
}
