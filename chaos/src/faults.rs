//! What goes wrong, until it is told to stop; each fault is healed before it ends.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use saga_conformance::proxy::{Proxy, Weather};
use tokio::process::Command;
use tokio::sync::watch;

use crate::Failure;
use crate::coordinator::LEASE;
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
}

/// Waits for so many milliseconds, or until it is over; then `false`.
async fn wait(over: &mut watch::Receiver<bool>, milliseconds: Range<u64>) -> bool {
    let time = Duration::from_millis(fastrand::u64(milliseconds));
    tokio::time::timeout(time, over.wait_for(|is_over| *is_over)).await.is_err()
}

/// Kills a process again and again, or pauses it for longer than its lease and its claims hold.
pub(crate) async fn torment(
    process: &mut Process,
    counts: &Counts,
    mut over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    while wait(&mut over, 4_000..14_000).await {
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
    while wait(&mut over, 8_000..16_000).await {
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
    server: &str,
    every: Range<u64>,
    counter: &AtomicU32,
    mut over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    while wait(&mut over, every.clone()).await {
        serve("kill", server).await?;
        count(counter);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1_000))).await;
        serve("start", server).await?;
    }
    Ok(())
}

/// Hands on to whoever started the servers.
async fn serve(verb: &str, server: &str) -> Result<(), Failure> {
    let command =
        std::env::var("SAGA_SERVERS").map_err(|_| "SAGA_SERVERS is not set: run `cargo xtask chaos`")?;
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("SAGA_SERVERS is empty")?;
    let output = Command::new(program).args(words).args([verb, server]).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{server} could not be told to {verb}: {said}").into())
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The first of these that fails, once all have ended.
pub(crate) async fn all<F: Future<Output = Result<(), Failure>>>(faults: Vec<F>) -> Result<(), Failure> {
    futures::future::join_all(faults).await.into_iter().collect()
}
