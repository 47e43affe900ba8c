//! Who gets what.

use std::collections::BTreeSet;
use std::time::Duration;

use saga_core::ports::{Delivery, GroupStart, Settled, TopicKind};
use saga_core::record::Topic;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::check::{Check, Stop};
use crate::client::{
    ARRIVES_WITHIN, Client, GROUP, Reader, ack, drain, id, message, messages, numbers, quiet, take,
};
use crate::stand::Stand;

/// 9: members of a group share its messages: whoever joins one that has had all of them gets some, as soon as the broker has shared the work out
/// anew, and together they get all.
pub async fn competing_consumers(stand: &Stand) -> Check {
    const ROUND: usize = 100;
    const ROUNDS_MAX: usize = 20;
    let (one, two) = (stand.connect().await?, stand.connect().await?);
    let topic = one.commands(stand).await?;
    let publish = |round: usize| {
        let batch = (round * ROUND..(round + 1) * ROUND).map(|n| message(&topic, n).keyed(n.to_string()));
        one.publish(batch.collect())
    };
    // So few at once that neither can take all.
    let mut readers = vec![one.read_as(&topic, GROUP, 10, false).await?];
    let mut alone = [0];
    publish(0).await?;
    let mut duplicates = share_out(&readers, 0..ROUND, &mut alone).await?;
    readers.push(two.read_as(&topic, GROUP, 10, false).await?);
    // Of one round each: that first the one and then the other has all is no sharing.
    let (mut shares, mut round) = ([0, 0], 1);
    while shares.contains(&0) {
        ensure!(round < ROUNDS_MAX, "the work was not shared in {round} rounds: {shares:?} in the last one");
        shares = [0, 0];
        publish(round).await?;
        duplicates += share_out(&readers, round * ROUND..(round + 1) * ROUND, &mut shares).await?;
        round += 1;
    }
    stand.note(format!("shares {shares:?} after {round} rounds, duplicates {duplicates}"));
    one.close().await?;
    two.close().await
}

/// Reads these by turns until all were seen; returns how many came more than once.
async fn share_out(readers: &[Reader], wanted: std::ops::Range<usize>, shares: &mut [usize]) -> Check<usize> {
    let mut missing: BTreeSet<String> = wanted.map(|n| n.to_string()).collect();
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let mut duplicates = 0;
    while !missing.is_empty() {
        ensure!(Instant::now() < deadline, "{} messages did not come", missing.len());
        for (share, reader) in shares.iter_mut().zip(readers) {
            if let Ok(batch) = timeout(Duration::from_millis(200), reader.next(10)).await {
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

/// 13: four members work under load; a fifth joins, one leaves, and one crashes with work that it has not settled. Nothing is lost.
pub async fn members_come_and_go(stand: &Stand) -> Check {
    const COUNT: usize = 1_000;
    const CHUNK: usize = 20;
    const BETWEEN: Duration = Duration::from_millis(80);
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for nth in 0..4 {
        members.push(Member::join(stand, &topic, nth, &tell).await?);
    }
    let (publisher, publishing_to) = (client.clone(), topic.clone());
    let publishing = tokio::spawn(async move {
        for first in (0..COUNT).step_by(CHUNK) {
            let batch = (first..first + CHUNK).map(|n| message(&publishing_to, n).keyed(n.to_string()));
            publisher.publish(batch.collect()).await?;
            sleep(BETWEEN).await;
        }
        Ok::<_, Stop>(())
    });
    sleep(Duration::from_secs(1)).await;
    members.push(Member::join(stand, &topic, 4, &tell).await?);
    sleep(Duration::from_millis(500)).await;
    members.remove(0).end(End::Leave).await?;
    sleep(Duration::from_millis(500)).await;
    members.remove(0).end(End::Crash).await?;
    publishing.await.map_err(Stop::failed)??;

    let mut missing: BTreeSet<String> = numbers(COUNT).collect();
    let (mut shares, mut duplicates) = ([0; 5], 0);
    let deadline = Instant::now() + ARRIVES_WITHIN + stand.lease * 2;
    while !missing.is_empty() {
        let Ok(Some((nth, ids))) = timeout_at(deadline, told.recv()).await else {
            return Err(Stop::failed(format!(
                "{} messages are lost, as {:?}",
                missing.len(),
                missing.first()
            )));
        };
        let ids: Vec<String> = ids;
        duplicates += ids.iter().filter(|id| !missing.remove(*id)).count();
        shares[nth] += ids.len();
    }
    for member in members {
        member.end(End::Leave).await?;
    }
    stand.note(format!("shares {shares:?}, {duplicates} came more than once"));
    client.close().await
}

/// A member of a group that works until it is told how to end.
struct Member {
    end: oneshot::Sender<End>,
    ended: JoinHandle<Check>,
}

#[derive(Debug)]
enum End {
    Leave,
    /// With some that it has not settled.
    Crash,
}

impl Member {
    /// Joins, and tells what it has handled.
    async fn join(
        stand: &Stand,
        topic: &Topic,
        nth: usize,
        tell: &mpsc::UnboundedSender<(usize, Vec<String>)>,
    ) -> Check<Self> {
        let client = stand.connect().await?;
        let reader = client.read(topic).await?;
        let (end, is_ending) = oneshot::channel();
        let tell = tell.clone();
        let ended = tokio::spawn(async move { work(client, reader, nth, &tell, is_ending).await });
        Ok(Self { end, ended })
    }

    async fn end(self, how: End) -> Check {
        self.end.send(how).map_err(|_| Stop::failed("a member ended by itself"))?;
        self.ended.await.map_err(Stop::failed)?
    }
}

async fn work(
    client: Client,
    reader: Reader,
    nth: usize,
    tell: &mpsc::UnboundedSender<(usize, Vec<String>)>,
    mut is_ending: oneshot::Receiver<End>,
) -> Check {
    let how = loop {
        let batch = tokio::select! {
            how = &mut is_ending => break how.unwrap_or(End::Leave),
            batch = reader.next(10) => batch?,
        };
        let ids: Vec<_> = batch.iter().map(id).collect();
        // Work that goes to another member meanwhile comes again there.
        let answers = reader.settle(batch.into_iter().map(Delivery::ack).collect()).await;
        let settled = ids.into_iter().zip(answers).filter(|(_, answer)| *answer == Settled::Settled);
        // Nobody listens once all have come.
        let _all_have_come = tell.send((nth, settled.map(|(id, _)| id).collect()));
    };
    match how {
        End::Leave => {
            reader.close().await;
            drop(reader);
            client.close().await
        }
        End::Crash => {
            let _unsettled = timeout(Duration::from_millis(300), reader.next(10)).await;
            client.abandon([reader]);
            Ok(())
        }
    }
}
