//! How long sagas wait, once their coordinator has died and its lease has run out, until another has taken them over. It is measured while nothing
//! else is wrong: among faults there are moments when nobody is there to take anything over.

use std::time::{Duration, Instant};

use saga::sql::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use saga::sql::sqlx::{self, PgPool};

use crate::Failure;
use crate::coordinator::LEASE;
use crate::process::Process;

/// The present lease of a coordinator, and how many sagas are in its hands.
const LEASED: &str = "SELECT l.epoch, count(s.id) FROM saga_log_leases l LEFT JOIN saga_log s \
    ON s.owner = l.epoch AND s.definition IS NOT NULL AND s.wake_at IS NOT NULL \
    WHERE l.owner LIKE $1 GROUP BY l.epoch ORDER BY l.epoch DESC LIMIT 1";
/// For how long what is due, and still in the dead one's hands, has been waiting since the lease ended at the latest.
const WAITED: &str = "SELECT max(saga_log_now() - greatest($2, wake_at)) FROM saga_log \
    WHERE definition IS NOT NULL AND owner = $1 AND wake_at <= saga_log_now() AND saga_log_now() > $2";

/// Before each death, so that the one that dies has sagas.
const CALM: Duration = Duration::from_secs(3);
/// After the end of each lease. What has waited for so long is not taken over.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// How take-overs went.
#[derive(Debug, Default)]
pub(crate) struct TakeOvers {
    killed: usize,
    sagas: i64,
    longest: Duration,
}

impl TakeOvers {
    /// Whether nobody took over what a dead one had.
    pub(crate) fn is_bad(&self) -> bool {
        self.longest + Duration::from_millis(500) >= LOOKED_AT
    }

    pub(crate) fn told(&self) -> String {
        let Self { killed, sagas, longest } = self;
        if *killed == 0 {
            return "take-over was not measured (one coordinator)".to_owned();
        }
        format!(
            "{killed} coordinators died with {sagas} sagas in their hands while the others lived: none of these waited for more than {:.1} s \
             after the end of the lease",
            longest.as_secs_f64()
        )
    }
}

/// Kills some coordinators, one after the other, each for longer than its lease, and looks what becomes of their sagas.
pub(crate) async fn measure(
    log: &str,
    processes: &mut [Process],
    deaths: usize,
) -> Result<TakeOvers, Failure> {
    let mut all = TakeOvers::default();
    let is_coordinator = |process: &&mut Process| process.name.starts_with("coordinator ");
    let coordinators: Vec<_> = processes.iter_mut().filter(is_coordinator).collect();
    if !log.starts_with("postgres") || coordinators.len() < 2 {
        return Ok(all);
    }
    let pool = pool(log)?;
    for process in coordinators.into_iter().take(deaths) {
        tokio::time::sleep(CALM).await;
        let owner = process.name.trim_start_matches("coordinator ").to_owned() + "%";
        let (epoch, sagas): (i64, i64) = sqlx::query_as(LEASED).bind(owner).fetch_one(&pool).await?;
        process.kill().await?;
        let now: i64 = sqlx::query_scalar("SELECT saga_log_now()").fetch_one(&pool).await?;
        let over = now + i64::try_from(LEASE.as_millis())?;
        let killed = Instant::now();
        while killed.elapsed() < LEASE + LOOKED_AT {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waited = sqlx::query_scalar(WAITED).bind(epoch).bind(over).fetch_one(&pool).await?;
            let waited: Option<i64> = waited;
            all.longest = all.longest.max(Duration::from_millis(waited.unwrap_or_default().unsigned_abs()));
        }
        process.start_again()?;
        all.killed += 1;
        all.sagas += sagas;
    }
    Ok(all)
}

fn pool(log: &str) -> Result<PgPool, Failure> {
    let (server, schema) = log.split_once("schema=").ok_or("the log's URL names no schema")?;
    let options: PgConnectOptions = server.trim_end_matches(['?', '&']).parse()?;
    Ok(PgPoolOptions::new().max_connections(1).connect_lazy_with(options.options([("search_path", schema)])))
}
