//! Who gets what.

use std::time::Duration;

use saga_core::ports::{Delivery, GroupStart, TopicKind};

use crate::check::Check;
use crate::client::{
    ARRIVES_WITHIN, Client, GROUP, Reader, ack, drain, id, message, messages, numbers, quiet, take,
};
use crate::stand::Stand;

/// 9: members of a group share its messages: together they get all, and both get some, as soon as the broker has shared the work out.
pub async fn competing_consumers(stand: &Stand) -> Check {
    const ROUND: usize = 100;
    const ROUNDS_MAX: usize = 20;
    let (one, two) = (stand.connect().await?, stand.connect().await?);
    let topic = one.commands(stand).await?;
    // So few at once that neither can take all.
    let readers =
        [one.read_as(&topic, GROUP, 10, false).await?, two.read_as(&topic, GROUP, 10, false).await?];
    let (mut shares, mut duplicates, mut round) = ([0, 0], 0, 0);
    while shares.contains(&0) || round < 2 {
        ensure!(round < ROUNDS_MAX, "the work was not shared in {round} rounds: {shares:?}");
        let batch = (round * ROUND..(round + 1) * ROUND).map(|n| message(&topic, n).keyed(n.to_string()));
        one.publish(batch.collect()).await?;
        duplicates += share_out(&readers, round * ROUND..(round + 1) * ROUND, &mut shares).await?;
        round += 1;
    }
    stand.note(format!("shares {shares:?} after {round} rounds, duplicates {duplicates}"));
    one.close().await?;
    two.close().await
}

/// Reads these by turns until all were seen; returns how many came more than once.
async fn share_out(
    readers: &[Reader; 2],
    wanted: std::ops::Range<usize>,
    shares: &mut [usize; 2],
) -> Check<usize> {
    let mut missing: std::collections::BTreeSet<String> = wanted.map(|n| n.to_string()).collect();
    let deadline = tokio::time::Instant::now() + ARRIVES_WITHIN;
    let mut duplicates = 0;
    while !missing.is_empty() {
        ensure!(tokio::time::Instant::now() < deadline, "{} messages did not come", missing.len());
        for (share, reader) in shares.iter_mut().zip(readers) {
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), reader.next(10)).await {
                let batch = batch?;
                duplicates += batch.iter().filter(|delivery| !missing.remove(&id(delivery))).count();
                *share += batch.len();
                // Work that goes to the other one meanwhile comes again there.
                let _stale_ones_come_again =
                    reader.settle(batch.into_iter().map(Delivery::ack).collect()).await;
            }
        }
    }
    Ok(duplicates)
}

/// 10: each group of a topic of events gets every message.
pub async fn every_group_gets_all(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.declared(stand, TopicKind::Events, &["one", "two"]).await?;
    client.publish(messages(&topic, 50)).await?;
    for group in ["one", "two"] {
        let reader = client.read_as(&topic, group, 100, false).await?;
        drain(&reader, numbers(50), ARRIVES_WITHIN).await?;
    }
    client.close().await
}

/// 11: a group is durable from its declaration on: what is published before its first consumer comes waits for it.
pub async fn group_before_consumer(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.declared(stand, TopicKind::Events, &[GROUP]).await?;
    client.publish(messages(&topic, 20)).await?;
    client.close().await?;
    let later = stand.connect().await?;
    drain(&later.read(&topic).await?, numbers(20), ARRIVES_WITHIN).await?;
    later.close().await
}

/// 12: a group that comes late starts where it asks to: with the oldest message kept, where the bus can replay, or with what comes from now on.
pub async fn late_group(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.declared(stand, TopicKind::Events, &["first"]).await?;
    client.publish(messages(&topic, 10)).await?;
    client.declare(&topic, TopicKind::Events, &["latest"], GroupStart::Latest).await?;
    client.publish(vec![message(&topic, "new")]).await?;
    let latest = client.read_as(&topic, "latest", 100, false).await?;
    let only = take(&latest, 1).await?;
    ensure!(id(&only[0]) == "new", "a group from the latest got {}", id(&only[0]));
    ack(&latest, only).await?;
    quiet(&latest).await?;
    if !client.bus.capabilities().replay {
        stand.note("the bus cannot replay: only the start with the latest was tried");
        return client.close().await;
    }
    client.declare(&topic, TopicKind::Events, &["earliest"], GroupStart::Earliest).await?;
    let earliest = client.read_as(&topic, "earliest", 100, false).await?;
    drain(&earliest, numbers(10).chain(["new".to_owned()]), ARRIVES_WITHIN).await?;
    client.close().await
}

/// 13: members join and leave, politely or not, while messages flow, and nothing is lost.
pub async fn members_come_and_go(stand: &Stand) -> Check {
    const COUNT: usize = 600;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let (publisher, publishing_to) = (client.clone(), topic.clone());
    let publishing = tokio::spawn(async move {
        for chunk in messages(&publishing_to, COUNT).chunks(20) {
            publisher.publish(chunk.to_vec()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, crate::Stop>(())
    });
    let mut handled = Vec::new();
    for nth in 0..5 {
        let member = stand.connect().await?;
        let reader = member.read(&topic).await?;
        handled.extend(handle_for(&reader, Duration::from_millis(1_000)).await?);
        if nth % 2 == 0 {
            reader.close().await;
            drop(reader);
            member.close().await?;
        } else {
            // Takes some with it that it has not settled.
            let _unsettled = tokio::time::timeout(Duration::from_millis(300), reader.next(10)).await;
            member.abandon([reader]);
        }
    }
    publishing.await.map_err(crate::Stop::failed)??;
    let rest = numbers(COUNT).filter(|wanted| !handled.contains(wanted)).collect::<Vec<_>>();
    let last: Client = stand.connect().await?;
    let within = ARRIVES_WITHIN + stand.lease * 2;
    drain(&last.read(&topic).await?, rest, within).await?;
    last.close().await?;
    client.close().await
}

async fn handle_for(reader: &Reader, time: Duration) -> Check<Vec<String>> {
    let end = tokio::time::Instant::now() + time;
    let mut handled = Vec::new();
    while let Ok(batch) = tokio::time::timeout_at(end, reader.next(10)).await {
        let batch = batch?;
        handled.extend(batch.iter().map(id));
        ack(reader, batch).await?;
    }
    Ok(handled)
}
