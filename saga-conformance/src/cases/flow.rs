//! How much, how fast.

use std::time::Duration;

use saga_core::Message;
use saga_core::ports::{Delivery, Settled};
use tokio::time::{Instant, sleep, timeout};

use crate::check::{Check, Stop};
use crate::client::{
    ARRIVES_WITHIN, GROUP, ack, drain, id, message, messages, numbers, quiet, take, take_one,
};
use crate::stand::Stand;
use crate::suite::Throughput;

/// 35: no more deliveries are unsettled at once than the subscription allows.
pub async fn in_flight_limit(stand: &Stand) -> Check {
    const LIMIT: usize = 7;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 50)).await?;
    let reader = client.read_as(&topic, GROUP, LIMIT, false).await?;
    let mut held = take(&reader, LIMIT).await?;
    quiet(&reader).await?;
    let first = held.remove(0);
    let mut handled = vec![id(&first)];
    ack(&reader, vec![first]).await?;
    held.push(take_one(&reader).await?);
    quiet(&reader).await?;
    handled.extend(held.iter().map(id));
    ack(&reader, held).await?;
    drain(&reader, numbers(50).filter(|id| !handled.contains(id)), ARRIVES_WITHIN).await?;
    client.close().await
}

/// 36: a handler that takes longer than the broker's lease keeps its delivery, and its place in the group.
pub async fn slow_handler(stand: &Stand) -> Check {
    if stand.url.is_empty() {
        return Err(Stop::does_not_apply(
            "the bus has no lease: a delivery is its consumer's until it is settled or dropped",
        ));
    }
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    client.publish(vec![message(&topic, "slow")]).await?;
    let delivery = take_one(&reader).await?;
    sleep(stand.lease * 2 + Duration::from_secs(1)).await;
    let answers = reader.settle(vec![delivery.ack()]).await;
    ensure!(answers == [Settled::Settled], "after twice the lease an acknowledgement is {answers:?}");
    quiet(&reader).await?;
    client.publish(vec![message(&topic, "next")]).await?;
    let next = take_one(&reader).await?;
    ensure!(id(&next) == "next", "{} came", id(&next));
    ack(&reader, vec![next]).await?;
    client.close().await
}

/// 37: while the broker takes nothing, publishing waits, in bounded memory, whatever is offered: a million messages of 1 KB; giving up waiting leaves nothing behind, and afterwards all goes on.
pub async fn publisher_held_back(stand: &Stand) -> Check {
    const ATTEMPTS: usize = 400;
    const BATCH: usize = 2_500;
    const PAYLOAD: usize = 1_024;
    /// A tenth of what is offered, and more than any adapter's own limits.
    const GROWTH_MAX: u64 = 96 << 20;
    let server = stand.server()?;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "before")]).await?;
    server.pause().await?;
    let before = resident_bytes()?;
    let mut peak = before;
    let mut answered = 0;
    for nth in 0..ATTEMPTS {
        let batch = (0..BATCH)
            .map(|n| Message::new(topic.clone(), vec![b'x'; PAYLOAD]).with_id(format!("{nth}/{n}")));
        let publishing = client.bus.publish(batch.collect());
        answered += usize::from(timeout(Duration::from_millis(15), publishing).await.is_ok());
        peak = peak.max(resident_bytes()?);
    }
    server.resume().await?;
    let grown = peak - before;
    let offered = (ATTEMPTS * BATCH * PAYLOAD) >> 20;
    stand.note(format!("offered {offered} MiB, grown by {} MiB", grown >> 20));
    ensure!(grown <= GROWTH_MAX, "memory grew by {} MiB while {offered} MiB were offered", grown >> 20);
    ensure!(answered < ATTEMPTS, "a paused broker answered everything");
    client.publish_surely(vec![message(&topic, "after")], Duration::from_secs(60)).await?;
    client.close().await
}

/// How much memory this process has now.
fn resident_bytes() -> Check<u64> {
    const PAGE: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").map_err(Stop::failed)?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE).ok_or_else(|| Stop::failed("/proc/self/statm cannot be read"))
}

/// 38: the limit of unsettled deliveries is raised and lowered while reading.
pub async fn limit_changed_live(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 50)).await?;
    let reader = client.read_as(&topic, GROUP, 2, false).await?;
    let mut held = take(&reader, 2).await?;
    quiet(&reader).await?;
    reader.set_in_flight_max(6);
    held.extend(take(&reader, 4).await?);
    quiet(&reader).await?;
    reader.set_in_flight_max(1);
    ack(&reader, held.split_off(1)).await?;
    quiet(&reader).await?;
    ack(&reader, held).await?;
    let one = take(&reader, 1).await?;
    quiet(&reader).await?;
    ack(&reader, one).await?;
    reader.set_in_flight_max(100);
    take(&reader, 43).await?;
    client.close().await
}

/// 39: after a while without messages the first one comes at once.
pub async fn idle_then_first(stand: &Stand) -> Check {
    const FIRST_MAX: Duration = Duration::from_secs(5);
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    client.publish(vec![message(&topic, "warm")]).await?;
    let warm = take_one(&reader).await?;
    ack(&reader, vec![warm]).await?;
    sleep(Duration::from_secs(6)).await;
    let begun = Instant::now();
    client.publish(vec![message(&topic, "first")]).await?;
    let first = take_one(&reader).await?;
    let took = begun.elapsed();
    ensure!(took <= FIRST_MAX, "the first message after a silence took {took:?}");
    stand.note(format!("{took:.1?}"));
    ack(&reader, vec![first]).await?;
    client.close().await
}

/// 50: what the adapter can do beside its raw client in the same run, for orientation; it is judged in the benchmark.
pub async fn throughput(stand: &Stand) -> Check {
    const COUNT: usize = 20_000;
    const PAYLOAD: usize = 300;
    const BATCH: usize = 1_000;
    let Some(raw) = &stand.raw else {
        return Err(Stop::does_not_apply("no raw client was given to compare with"));
    };
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let begun = Instant::now();
    let batches = (0..COUNT / BATCH).map(|nth| {
        (0..BATCH)
            .map(|n| Message::new(topic.clone(), vec![b'x'; PAYLOAD]).with_id(format!("{nth}/{n}")))
            .collect()
    });
    let publishing = batches.map(|batch| client.publish(batch));
    futures::future::try_join_all(publishing).await?;
    let published = COUNT as f64 / begun.elapsed().as_secs_f64();
    let reader = client.read_as(&topic, GROUP, BATCH, false).await?;
    let begun = Instant::now();
    let mut count = 0;
    while count < COUNT {
        let batch = timeout(ARRIVES_WITHIN, reader.next(BATCH)).await.map_err(Stop::failed)??;
        count += batch.len();
        reader.settle(batch.into_iter().map(Delivery::ack).collect()).await;
    }
    let ours = Throughput { published, consumed: COUNT as f64 / begun.elapsed().as_secs_f64() };
    client.close().await?;
    let theirs = raw(stand.url.clone(), stand.topic().as_str().to_owned(), COUNT, PAYLOAD)
        .await
        .map_err(Stop::failed)?;
    stand.note(format!(
        "{COUNT} messages of {PAYLOAD} B: published {:.0}/s, raw {:.0}/s; consumed {:.0}/s, raw {:.0}/s",
        ours.published, theirs.published, ours.consumed, theirs.consumed
    ));
    Ok(())
}
