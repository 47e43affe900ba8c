//! How long sagas wait, after their coordinator's lease has run out, until another has taken them over.

use std::time::Duration;

use saga::sql::sqlx;
use saga::sql::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;

use crate::Failure;

/// What is due, and whose lease is over, and for how long that has been so, by the log's clock.
const WAITING: &str = "SELECT max(saga_log_now() - greatest(coalesce(l.until, 0), s.wake_at)) FROM saga_log s \
    LEFT JOIN saga_log_leases l ON l.epoch = s.owner \
    WHERE s.definition IS NOT NULL AND s.wake_at <= saga_log_now() AND coalesce(l.until, 0) < saga_log_now()";

/// Looks again and again until it is over, and returns the longest wait seen.
pub(crate) async fn longest(log: &str, mut over: watch::Receiver<bool>) -> Result<Option<Duration>, Failure> {
    const EVERY: Duration = Duration::from_millis(200);
    if !log.starts_with("postgres") {
        return Ok(None);
    }
    let (server, schema) = log.split_once("schema=").ok_or("the log's URL names no schema")?;
    let options: PgConnectOptions = server.trim_end_matches(['?', '&']).parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(1))
        .connect_lazy_with(options.options([("search_path", schema)]));
    let mut longest = Duration::ZERO;
    while tokio::time::timeout(EVERY, over.wait_for(|is_over| *is_over)).await.is_err() {
        if let Ok(Some(waited)) = sqlx::query_scalar::<_, Option<i64>>(WAITING).fetch_one(&pool).await {
            longest = longest.max(Duration::from_millis(waited.unsigned_abs()));
        }
    }
    Ok(Some(longest))
}
