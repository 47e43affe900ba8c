//! What a database's errors mean to whoever called.

use saga_core::{Error, ErrorKind};

/// What happened, to what, and what may be done about it.
pub(crate) fn told(what: impl Into<String>, error: impl Failed) -> Error {
    Error::new(error.kind(), what).with_source(error)
}

/// A driver's error.
pub(crate) trait Failed: std::error::Error + Send + Sync + 'static {
    /// What may be done about it.
    fn kind(&self) -> ErrorKind;
}

/// The same error for every part of a batch.
pub(crate) fn copy(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

impl Failed for sqlx::Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(database) => database.code().map_or(ErrorKind::Retry, |code| of_code(&code)),
            Self::Configuration(_) | Self::InvalidArgument(_) => ErrorKind::Invalid,
            Self::Tls(_) | Self::Encode(_) => ErrorKind::Permanent,
            Self::ColumnDecode { .. } | Self::Decode(_) => ErrorKind::Corrupt,
            Self::PoolClosed => ErrorKind::Stopped,
            // The server is away, busy or slow, or says what nobody expects; a new connection may be luckier.
            _ => ErrorKind::Retry,
        }
    }
}

#[cfg(feature = "sqlite")]
impl Failed for rusqlite::Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SqliteFailure(failure, _) => of_sqlite(failure.extended_code.unsigned_abs() & 0xff),
            Self::InvalidColumnType(..)
            | Self::FromSqlConversionFailure(..)
            | Self::IntegralValueOutOfRange(..) => ErrorKind::Corrupt,
            _ => ErrorKind::Permanent,
        }
    }
}

/// PostgreSQL's codes have five characters, SQLite's are numbers.
fn of_code(code: &str) -> ErrorKind {
    match code.parse::<u32>() {
        Ok(number) if code.len() != 5 => of_sqlite(number & 0xff),
        _ => of_postgres(code),
    }
}

/// See <https://www.sqlite.org/rescode.html>.
const fn of_sqlite(code: u32) -> ErrorKind {
    match code {
        // Busy, locked, out of memory, interrupted, an I/O error, a full disk, a file that cannot be opened now.
        5 | 6 | 7 | 9 | 10 | 13 | 14 | 15 => ErrorKind::Retry,
        // The file is damaged, or is no database.
        11 | 26 => ErrorKind::Corrupt,
        _ => ErrorKind::Permanent,
    }
}

/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_postgres(code: &str) -> ErrorKind {
    match &code[..2] {
        // The connection, a transaction that lost, resources, an operator, the system.
        "08" | "40" | "53" | "55" | "57" | "58" => ErrorKind::Retry,
        // Damaged data or indexes.
        "XX" => ErrorKind::Corrupt,
        _ => ErrorKind::Permanent,
    }
}

/// Whether one part of a batch may be to blame, so that the others are worth a try of their own.
pub(crate) const fn may_be_one_of_many(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Permanent | ErrorKind::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, kind) in [
            ("5", ErrorKind::Retry),
            ("261", ErrorKind::Retry),
            ("13", ErrorKind::Retry),
            ("8", ErrorKind::Permanent),
            ("1032", ErrorKind::Permanent),
            ("11", ErrorKind::Corrupt),
            ("40P01", ErrorKind::Retry),
            ("53100", ErrorKind::Retry),
            ("28P01", ErrorKind::Permanent),
            ("22021", ErrorKind::Permanent),
            ("57P01", ErrorKind::Retry),
        ] {
            assert_eq!(of_code(code), kind, "{code}");
        }
    }
}
