//! A broker that forgets what it has acknowledged, again and again: JetStream is put back to an earlier copy of its files, a Kafka topic is
//! truncated, a RabbitMQ queue is purged. Processes are then only killed where a broker has nothing to forget otherwise: what a consumer
//! that lives on makes of it is what is to be seen.

mod kafka;
mod rabbit;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use saga::ports::BusAdmin;
use saga_conformance::server::Server;
use tokio::sync::watch;

use crate::Failure;
use crate::args::Args;
use crate::faults::wait;
use crate::process::Process;

/// How often, and how much of what had not been settled.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    pub(crate) times: AtomicU32,
    /// On brokers that can tell.
    pub(crate) messages: AtomicU64,
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Makes the broker forget about every ten seconds until it is over.
pub(crate) async fn again_and_again(
    args: &Args,
    processes: &mut [Process],
    forgotten: &Forgotten,
    over: watch::Receiver<bool>,
) -> Result<(), Failure> {
    match args.broker.as_str() {
        "nats" => put_back(forgotten, over).await?,
        "kafka" => empty(args, processes, forgotten, over, false).await?,
        _ => empty(args, processes, forgotten, over, true).await?,
    }
    processes
        .iter_mut()
        .find_map(|process| process.ended().transpose())
        .map_or(Ok(()), |how| Err(how?.into()))
}

/// Stops the server, keeps a copy of its files, and some seconds later puts it in their place.
async fn put_back(forgotten: &Forgotten, mut over: watch::Receiver<bool>) -> Result<(), Failure> {
    let server = Server::from_env("nats").ok_or("SAGA_SERVERS is not set: run `cargo xtask chaos`")?;
    while wait(&mut over, secs(3)..secs(6)).await {
        server.kill().await?;
        server.save().await?;
        server.start().await?;
        // Even if it is over meanwhile: what was begun is seen through.
        tokio::time::sleep(secs(3) + Duration::from_millis(fastrand::u64(0..3_000))).await;
        server.kill().await?;
        server.restore().await?;
        server.start().await?;
        forgotten.times.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Lets messages gather, while either all coordinators or all participants are away, and empties the topics.
///
/// On Kafka they only stand still, so that they go on where nothing is any more. A consumer of RabbitMQ has what waits already: it must die
/// to give it back.
async fn empty(
    args: &Args,
    processes: &mut [Process],
    forgotten: &Forgotten,
    mut over: watch::Receiver<bool>,
    by_death: bool,
) -> Result<(), Failure> {
    let admin = saga::admin(&args.bus).await?;
    let mut sides = ["participant", "coordinator"].iter().cycle();
    while wait(&mut over, secs(6)..secs(10)).await {
        let side = sides.next().ok_or("a cycle has no end")?;
        let mut away: Vec<_> =
            processes.iter_mut().filter(|process| process.name.starts_with(side)).collect();
        for process in &mut away {
            if by_death { process.kill().await? } else { process.signal("STOP").await? }
        }
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        let messages = if by_death {
            rabbit::purge(&*admin, &args.bus).await?
        } else {
            let waiting = waiting(&*admin).await?;
            kafka::truncate(&args.bus).await?;
            waiting
        };
        for process in &mut away {
            if by_death { process.start_again()? } else { process.signal("CONT").await? }
        }
        forgotten.times.fetch_add(1, Ordering::Relaxed);
        forgotten.messages.fetch_add(messages, Ordering::Relaxed);
    }
    Ok(())
}

/// How many messages have not been settled, in all topics.
async fn waiting(admin: &dyn BusAdmin) -> Result<u64, Failure> {
    let topics = admin.topics().await?;
    let groups = try_join_all(topics.iter().map(|topic| admin.groups(topic))).await?;
    Ok(groups.iter().flatten().map(|group| group.lag).sum())
}

/// The host and the prefix of a bus's URL.
fn host_and_prefix(bus: &str) -> Result<(&str, &str), Failure> {
    let (host, prefix) = bus.split_once("?prefix=").ok_or("the bus's URL names no prefix")?;
    Ok((host, prefix))
}
