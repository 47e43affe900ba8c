//! What nobody can handle.

use std::time::Duration;

use saga_core::ports::{DeadLetter, Settled};
use saga_core::record::Topic;
use saga_core::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};
use tokio::time::Instant;

use crate::check::{Check, Stop};
use crate::child::{self, Task};
use crate::client::{
    ARRIVES_WITHIN, Client, GROUP, Reader, ack, drain, id, message, messages, numbers, quiet, take, take_one,
};
use crate::stand::Stand;

/// 31: a dead letter has the message with id, key, headers and payload, the reason, its topic and group, and how often it was tried.
pub async fn evidence(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a").keyed("k").with_headers([("h", "v")])]).await?;
    let reader = client.read(&topic).await?;
    let first = take_one(&reader).await?;
    reader.settle(vec![first.retry(Duration::ZERO)]).await;
    let second = take_one(&reader).await?;
    bury(&reader, second, "nobody can read it: grün").await?;
    quiet(&reader).await?;
    let letter = letters(&client, &topic, 1).await?.remove(0);
    let DeadLetter { message, reason, group, attempts, .. } = &letter;
    ensure!(&**reason == "nobody can read it: grün", "the reason is {reason:?}");
    ensure!(&**group == GROUP && *attempts == 2, "group {group}, attempts {attempts}");
    ensure!(message.id.as_str() == "a" && message.key.as_deref() == Some("k"), "the message is {message:?}");
    ensure!(
        message.payload.bytes() == "a" && message.headers.get("h") == Some("v"),
        "the message is {message:?}"
    );
    let about = [DEAD_REASON, DEAD_TOPIC, DEAD_GROUP].map(|name| message.headers.get(name));
    ensure!(about == [Some(&**reason), Some(topic.as_str()), Some(GROUP)], "the attributes are {about:?}");
    client.close().await
}

async fn bury(reader: &Reader, delivery: saga_core::ports::Delivery, reason: &str) -> Check {
    let answers = reader.settle(vec![delivery.dead_letter(reason)]).await;
    ensure!(answers == [Settled::Settled], "a dead letter in time is {answers:?}");
    Ok(())
}

/// Waits until there are so many.
async fn letters(client: &Client, topic: &Topic, count: usize) -> Check<Vec<DeadLetter>> {
    let deadline = Instant::now() + ARRIVES_WITHIN;
    loop {
        let letters = client.admin.dead_letters(topic, GROUP, 1_000).await?;
        if letters.len() >= count {
            return Ok(letters);
        }
        ensure!(Instant::now() < deadline, "{} of {count} dead letters are there", letters.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// 32: when the dead letters have no place to go, the original is not lost: it comes again.
pub async fn unavailable(stand: &Stand) -> Check {
    let Some(break_them) = &stand.break_dead_letters else {
        return Err(Stop::does_not_apply("the adapter's test gives no way to break the dead letters"));
    };
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let reader = client.read(&topic).await?;
    let delivery = take_one(&reader).await?;
    break_them(stand.url.clone(), topic.as_str().to_owned(), GROUP.to_owned()).await.map_err(Stop::failed)?;
    let answers = reader.settle(vec![delivery.dead_letter("nowhere to go")]).await;
    ensure!(answers == [Settled::Stale], "a dead letter without a place is {answers:?}");
    let again = take_one(&reader).await?;
    ensure!(id(&again) == "a", "{} came", id(&again));
    ack(&reader, vec![again]).await?;
    client.close().await
}

/// 33: redriven dead letters come again with the same id, key and headers, without what was added to them, and are no dead letters any more; commands of
/// sagas stay.
pub async fn redriven(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let command = message(&topic, "command").with_headers([("ce-type", "saga.command")]);
    client.publish(vec![message(&topic, "a").keyed("k").with_headers([("h", "v")]), command]).await?;
    let reader = client.read(&topic).await?;
    for delivery in take(&reader, 2).await? {
        bury(&reader, delivery, "later").await?;
    }
    letters(&client, &topic, 2).await?;
    let redriven = client.admin.redrive(&topic, GROUP, 100).await?;
    ensure!((redriven.sent, redriven.kept) == (1, 1), "{redriven:?}");
    let again = take_one(&reader).await?;
    let got = &again.message;
    let h: Vec<_> = got.headers.iter().collect();
    ensure!(
        got.id.as_str() == "a" && got.key.as_deref() == Some("k") && h == [("h", "v")],
        "it came again as {got:?}"
    );
    ack(&reader, vec![again]).await?;
    quiet(&reader).await?;
    let left = client.admin.dead_letters(&topic, GROUP, 100).await?;
    ensure!(left.len() == 1 && left[0].message.id.as_str() == "command", "{} letters are left", left.len());
    client.close().await
}

/// 34: a crash between writing a dead letter and acknowledging the original makes two of it, never none.
pub async fn crash_in_between(stand: &Stand) -> Check {
    const COUNT: usize = 200;
    stand.server()?;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, COUNT)).await?;
    for nth in 0..3 {
        let (mut child, mut told) = child::start(&Task::Bury(topic.clone()))?;
        let first = tokio::time::timeout(ARRIVES_WITHIN + stand.lease * 2, told.recv()).await;
        ensure!(first.is_ok_and(|told| told.is_some()), "the child buries nothing");
        tokio::time::sleep(Duration::from_millis(7 * (nth + 1))).await;
        child.kill().await.map_err(Stop::failed)?;
    }
    let rest = client.read(&topic).await?;
    let buried: Vec<String> = client
        .admin
        .dead_letters(&topic, GROUP, 10 * COUNT)
        .await?
        .iter()
        .map(|letter| letter.message.id.as_str().to_owned())
        .collect();
    ensure!(!buried.is_empty(), "nothing was buried");
    let missing = numbers(COUNT).filter(|wanted| !buried.contains(wanted)).collect::<Vec<_>>();
    stand.note(format!(
        "{} letters before the last crash, {} messages after it",
        buried.len(),
        missing.len()
    ));
    drain(&rest, missing, ARRIVES_WITHIN + stand.lease * 2).await?;
    client.close().await
}
