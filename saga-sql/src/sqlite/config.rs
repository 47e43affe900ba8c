use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use saga_core::{Error, ErrorKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

/// When SQLite tells the disk to keep what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Synchronous {
    /// Before a commit is answered. Nothing that was acknowledged is lost, even if the machine loses its power.
    #[default]
    Full,
    /// Now and then. A crash of the process loses nothing; if the machine crashes, the last commits may be gone, and with them the promise
    /// that a saga is durable before anything follows from it. For tests.
    Normal,
}

impl Synchronous {
    /// As SQLite calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// What every connection has set: after how many pages the write-ahead log is worked into the file; how much is cached, in KiB and negative as
/// SQLite wants it, by all but the log's writer; and where it keeps what it throws away again.
pub(super) const PRAGMAS: [(&str, &str); 3] =
    [("wal_autocheckpoint", "4000"), ("cache_size", "-65536"), ("temp_store", "MEMORY")];

/// Where the saga log's SQLite file is and how it is used. Every field but the path can stand in the URL's query:
/// `sqlite:checkout.db?idempotency_window_ms=3600000`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteLogConfig {
    /// The file. It is made if it is not there; its folder must be. Beside it stand two more while it is open, `-wal` and `-shm`: the three
    /// belong together.
    #[serde(skip_deserializing)]
    pub path: PathBuf,
    /// When the disk is told to keep what was written. Default: [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// For how long a settled saga's tombstone stays, in ms, so that a start that comes again is recognised. Default: 86,400,000 (a day).
    pub idempotency_window_ms: u64,
    /// How long to wait while another process writes, in ms. Default: 5,000.
    pub busy_timeout_ms: u64,
    /// How many connections read beside the one that writes. Default: 2.
    pub readers_max: u32,
}

impl Default for SqliteLogConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            synchronous: Synchronous::Full,
            idempotency_window_ms: 24 * 3_600_000,
            busy_timeout_ms: 5_000,
            readers_max: 2,
        }
    }
}

impl SqliteLogConfig {
    /// The defaults, for this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Reads a URL: `sqlite:PATH?setting=value`. Percent-encode a `?` or `%` in the path.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says what is wrong with it.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let (path, settings): (_, Self) = parse(url)?;
        Ok(Self { path, ..settings })
    }

    pub(super) const fn idempotency_window(&self) -> Duration {
        Duration::from_millis(self.idempotency_window_ms)
    }

    pub(super) fn options(&self) -> SqliteConnectOptions {
        options(&self.path, self.synchronous, self.busy_timeout_ms)
    }
}

/// Takes a URL apart, into the path and the settings.
pub(super) fn parse<T: DeserializeOwned>(url: &str) -> Result<(PathBuf, T), Error> {
    let invalid = |problem: String| Error::new(ErrorKind::Invalid, format!("the sqlite URL {problem}"));
    let rest = url.strip_prefix("sqlite:").ok_or_else(|| invalid("does not begin with sqlite:".into()))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path =
        percent_decode_str(path).decode_utf8().map_err(|_| invalid("has a path that is no UTF-8".into()))?;
    if path.is_empty() || path == ":memory:" {
        return Err(invalid("names no file; write for example sqlite:checkout.db".into()));
    }
    let settings = serde_urlencoded::from_str(query);
    let settings = settings.map_err(|error| invalid(format!("has wrong settings: {error}")))?;
    Ok((PathBuf::from(&*path), settings))
}

/// How every connection is opened.
pub(super) fn options(
    path: &std::path::Path,
    synchronous: Synchronous,
    busy_timeout_ms: u64,
) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("synchronous", synchronous.name())
        .busy_timeout(Duration::from_millis(busy_timeout_ms))
        .statement_cache_capacity(256)
        // Rows are few and wanted at once: whoever reads them should not be woken for every fifty.
        .row_buffer_size(4_096);
    PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_path_and_settings() {
        let config = SqliteLogConfig::from_url("sqlite:a%3Fb.db?synchronous=normal&readers_max=3").unwrap();
        assert_eq!(config.path, PathBuf::from("a?b.db"));
        assert_eq!((config.synchronous, config.readers_max), (Synchronous::Normal, 3));
        assert_eq!(SqliteLogConfig::from_url("sqlite:///tmp/x.db").unwrap().path, PathBuf::from("/tmp/x.db"));
        for (url, expected) in [
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "names no file"),
            ("sqlite:a.db?sync=1", "unknown field `sync`"),
            ("postgres:a", "does not begin"),
        ] {
            let error = SqliteLogConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
