//! What goes wrong, until it is told to stop; each fault is healed before it ends.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use saga_conformance::proxy::{Proxy, Weather};
use saga_conformance::server::Server;
use tokio::sync::watch;

use crate::Failure;
use crate::coordinator::LEASE;
use crate::forget::Forgotten;
use crate::process::Process;

/// How often each thing was done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: AtomicU32,
    pub(crate) pauses: AtomicU32,
    pub(crate) cuts: AtomicU32,
    pub(crate) half_opens: AtomicU32,
    pub(crate) broker_restarts: AtomicU32,
    pub(crate) database_restarts: AtomicU32,
    pub(crate) forgotten: Forgotten,
}

/// Waits for some time between these, or until it is over; then `false`.
pub(crate) async fn wait(over: &mut watch::Receiver<bool>, time: Range<Duration>) -> bool {
    let time = time.start + (time.end - time.start).mul_f64(fastrand::f64());
    tokio::time::timeout(time, over.wait_for(|is_over| *is_over)).await.is_err()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Kills a process again and again, or pauses it for longer than its lease and its claims hold.
pub(crate) async fn torment(
    process: &mut Process,
    counts: &Counts,
    mut over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    while wait(&mut over, secs(4)..secs(14)).await {
        if let Some(how) = process.ended()? {
            return Err(how.into());
        }
        if fastrand::u8(..4) > 0 {
            process.kill().await?;
            count(&counts.kills);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1_500))).await;
            process.start_again()?;
        } else {
            process.signal("STOP").await?;
            count(&counts.pauses);
            tokio::time::sleep(LEASE + Duration::from_millis(fastrand::u64(1_000..5_000))).await;
            process.signal("CONT").await?;
        }
    }
    process.ended()?.map_or(Ok(()), |how| Err(how.into()))
}

/// Cuts the connections to the broker, or swallows what is sent on them.
pub(crate) async fn cut(
    proxy: &Proxy,
    counts: &Counts,
    mut over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    while wait(&mut over, secs(8)..secs(16)).await {
        if fastrand::bool() {
            proxy.set(Weather::Cut);
            count(&counts.cuts);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(200..2_000))).await;
        } else {
            proxy.set(Weather::HalfOpen);
            count(&counts.half_opens);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1_000..5_000))).await;
            // What was swallowed is lost; whoever has not noticed must not go on as if it had arrived.
            proxy.set(Weather::Cut);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        proxy.set(Weather::Clear);
    }
    Ok(())
}

/// Kills a server and starts it again.
pub(crate) async fn restart(
    name: &str,
    every: Range<Duration>,
    counter: &AtomicU32,
    mut over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let server = Server::from_env(name).ok_or("SAGA_SERVERS is not set: run `cargo xtask chaos`")?;
    while wait(&mut over, every.clone()).await {
        server.kill().await?;
        count(counter);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1_000))).await;
        server.start().await?;
    }
    Ok(())
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The first of these that fails, once all have ended.
pub(crate) async fn all<F: Future<Output = Result<(), Failure>>>(faults: Vec<F>) -> Result<(), Failure> {
    futures::future::join_all(faults).await.into_iter().collect()
}
