//! The statements of a group commit: for a whole batch at once, so that a batch costs a few round trips to the connection's thread,
//! however many sagas it is for.

use std::sync::Arc;

/// How many rows one statement can take at most.
pub(super) const ROWS_MAX: usize = 256;

/// Statements for up to so many rows, which they are padded to: a few sizes, so that their texts are few and stay prepared.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) rows: usize,
    /// How the sagas of these keys are filed, and before them the highest number given.
    pub(super) read: Statement,
    /// The same, as the first of a transaction, which it begins.
    pub(super) begin: Statement,
    /// Files sagas that are new or settled, or stand elsewhere in the queue.
    pub(super) file: Statement,
    /// Updates sagas that stand where they stood.
    pub(super) update: Statement,
    pub(super) insert_entries: Statement,
    pub(super) delete_entries: Statement,
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: Arc<str>,
    pub(super) columns: usize,
}

impl Program {
    /// All sizes, the smallest first.
    pub(super) fn all() -> Vec<Self> {
        let sizes = (0..).map(|n| 1 << n).take_while(|rows| *rows <= ROWS_MAX);
        sizes.map(Self::new).collect()
    }

    fn new(rows: usize) -> Self {
        let statement = |columns: usize, sql: &dyn Fn(String) -> String| Statement {
            sql: sql(values(rows, columns)).into(),
            columns,
        };
        let read = |values: String| {
            format!(
                "SELECT -1, coalesce(max(no), 0), '', NULL, 0, 0, NULL, 0, NULL FROM saga_log UNION ALL \
                 SELECT k.column3, s.no, s.run, s.definition, s.version, s.changed_at, s.line_at, s.owner, s.settled_at \
                 FROM (VALUES {values}) k CROSS JOIN saga_log s ON s.saga = k.column1 AND s.id = k.column2"
            )
        };
        Self {
            rows,
            read: statement(3, &read),
            begin: statement(3, &|values| format!("BEGIN IMMEDIATE; {}", read(values))),
            file: statement(14, &|values| {
                format!(
                    "INSERT INTO saga_log SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL \
                     ON CONFLICT (no) DO UPDATE SET run = excluded.run, status = excluded.status, \
                     definition = excluded.definition, version = excluded.version, \
                     changed_at = excluded.changed_at, wake_at = excluded.wake_at, line_at = excluded.line_at, \
                     owner = excluded.owner, settled_at = excluded.settled_at, \
                     input_digest = excluded.input_digest, cause = excluded.cause"
                )
            }),
            update: statement(5, &|values| {
                format!(
                    "UPDATE saga_log SET version = v.column2, status = v.column3, changed_at = v.column4, \
                     wake_at = v.column5 FROM (VALUES {values}) v WHERE no = v.column1"
                )
            }),
            insert_entries: statement(3, &|values| {
                format!(
                    "INSERT INTO saga_log_entries (place, format, entries) \
                     SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
                )
            }),
            delete_entries: statement(1, &|values| {
                format!(
                    "DELETE FROM saga_log_entries WHERE place IN (SELECT e.place FROM (VALUES {values}) v \
                     CROSS JOIN saga_log_entries e ON e.place BETWEEN v.column1 AND v.column1 + 1048575)"
                )
            }),
        }
    }
}

fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}
