//! Opening a saga log by its URL.

use std::sync::Arc;

use saga_core::memory::MemoryLog;
use saga_core::ports::SagaLog;
use saga_core::{Error, ErrorKind};

/// Opens the saga log that a URL names, for [`ServiceBuilder::log`](crate::ServiceBuilder::log).
///
/// | URL | log | feature |
/// |---|---|---|
/// | `memory:` | a new in-memory log: what it holds is gone with it | |
/// | `sqlite:checkout.db` | a SQLite file, for the coordinators of one machine | `sqlite` |
/// | `postgres://user:password@host/database` | PostgreSQL, for any number of coordinators | `postgres` |
///
/// What else can stand in a URL (`?idempotency_window_ms=3600000` and other settings) is in the configuration of each:
/// `saga::sql::sqlite::SqliteLogConfig`, `saga::sql::postgres::PostgresConfig`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), saga::Error> {
/// let log = saga::log::connect("memory:").await?;
/// let error = saga::log::connect("mysql://example.com").await.unwrap_err();
/// assert!(error.to_string().contains("memory:"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) when the URL has no scheme, or one that is not compiled in: the error names those that are. Passwords in
/// the URL are never part of the error. [`Retry`](ErrorKind::Retry) when the database is away, [`Permanent`](ErrorKind::Permanent) when it
/// refuses, or when its tables are of a newer version of the library.
pub async fn connect(url: &str) -> Result<Arc<dyn SagaLog>, Error> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryLog::new())),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => Ok(Arc::new(saga_sql::sqlite::SqliteLog::connect(url).await?)),
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => {
            Ok(Arc::new(saga_sql::postgres::PostgresLog::connect(url).await?))
        }
        #[cfg(not(feature = "sqlite"))]
        Some(("sqlite", _)) => Err(refused(&is_off("sqlite"))),
        #[cfg(not(feature = "postgres"))]
        Some(("postgres" | "postgresql", _)) => Err(refused(&is_off("postgres"))),
        Some(_) => Err(refused("its scheme is not known")),
        None => Err(refused("it has no scheme")),
    }
}

/// The schemes of this build, for messages.
const KNOWN: &[&str] = &[
    "memory:",
    #[cfg(feature = "sqlite")]
    "sqlite:",
    #[cfg(feature = "postgres")]
    "postgres://",
];

#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
fn is_off(feature: &str) -> String {
    format!(
        "it is for the feature \"{feature}\", which is off; turn it on in Cargo.toml: \
         saga = {{ package = \"saga-rs\", features = [\"{feature}\"] }}"
    )
}

fn refused(problem: &str) -> Error {
    let message =
        format!("cannot open the saga log by its URL: {problem}; this build knows: {}", KNOWN.join(", "));
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_names_what_would_be_right() {
        for url in ["http://user:secret@localhost", "nonsense", "", "memory://x"] {
            let error = connect(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains("memory:") && !text.contains("secret"), "{text}");
        }
        assert!(connect("memory:").await.is_ok());
    }

    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    #[tokio::test]
    async fn a_feature_that_is_off_is_named() {
        for (url, feature) in [("sqlite:a.db", "sqlite"), ("postgres://user:secret@localhost", "postgres")] {
            let error = connect(url).await.unwrap_err().to_string();
            let named = format!("features = [\"{feature}\"]");
            assert!(error.contains(&named) && !error.contains("secret"), "{error}");
        }
    }
}
