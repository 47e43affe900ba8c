//! Beginning and end of a connection.

use std::time::Duration;

use saga_core::ErrorKind;
use saga_core::ports::{Published, Settled};
use tokio::time::{Instant, sleep, timeout};

use crate::check::{Check, Stop};
use crate::client::{ARRIVES_WITHIN, ack, drain, id, message, messages, numbers, quiet, take, take_one};
use crate::stand::Stand;

/// 40: a subscription that is closed delivers no more, what it had delivered can still be settled, and closing the bus loses none of that.
pub async fn shutdown_drains(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 5)).await?;
    let reader = client.read(&topic).await?;
    let held = take(&reader, 5).await?;
    reader.close().await;
    match timeout(ARRIVES_WITHIN, reader.next(1)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::Stopped => {}
        other => return Err(Stop::failed(format!("reading a closed subscription is answered {other:?}"))),
    }
    sleep(Duration::from_millis(500)).await;
    let settlements = held.into_iter().map(|delivery| delivery.ack()).collect();
    let answers = reader.settle(settlements).await;
    ensure!(
        answers.iter().all(|answer| *answer == Settled::Settled),
        "settling while closing is {answers:?}"
    );
    client.close().await?;
    let later = stand.connect().await?;
    quiet(&later.read(&topic).await?).await?;
    later.close().await
}

/// 41: past the deadline of closing, what is unsettled is delivered again, promptly.
pub async fn past_the_deadline(stand: &Stand) -> Check {
    const PROMPTLY: Duration = Duration::from_secs(20);
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 5)).await?;
    let reader = client.read(&topic).await?;
    let held = take(&reader, 5).await?;
    let begun = Instant::now();
    // Whether it calls that a failure is the adapter's choice; that it ends is not.
    let _drained = client.bus.close(Duration::from_millis(300)).await;
    ensure!(begun.elapsed() < PROMPTLY, "closing with a deadline of 300 ms took {:?}", begun.elapsed());
    let later = stand.connect().await?;
    drain(&later.read(&topic).await?, numbers(5), PROMPTLY).await?;
    stand.note(format!("again after {:.1?}", begun.elapsed()));
    drop(held);
    later.close().await
}

/// 42: closing flushes: what was answered as published before or while closing is there, and publishing after it ends.
pub async fn close_flushes(stand: &Stand) -> Check {
    const AT_ONCE: usize = 10;
    const BEFORE: usize = 5 * AT_ONCE;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let (publisher, all) = (client.clone(), messages(&topic, 10_000));
    let (tell, mut told) = tokio::sync::watch::channel(0);
    let publishing = tokio::spawn(async move {
        let mut acked = Vec::new();
        for (nth, batch) in all.chunks(AT_ONCE).enumerate() {
            let answers = publisher.bus.publish(batch.to_vec()).await;
            let has_failed = answers.iter().any(|answer| !matches!(answer, Published::Acked));
            let numbers = (nth * AT_ONCE..).zip(&answers);
            acked.extend(
                numbers.filter(|(_, answer)| matches!(answer, Published::Acked)).map(|(n, _)| n.to_string()),
            );
            tell.send_replace(acked.len());
            if has_failed {
                break;
            }
        }
        acked
    });
    let is_under_way =
        timeout(ARRIVES_WITHIN, told.wait_for(|acked| *acked >= BEFORE)).await.is_ok_and(|told| told.is_ok());
    ensure!(is_under_way, "fewer than {BEFORE} messages were published");
    client.close().await?;
    let acked = timeout(ARRIVES_WITHIN, publishing).await.map_err(Stop::failed)?.map_err(Stop::failed)?;
    ensure!(acked.len() < 10_000, "a bus that is closed goes on publishing");
    stand.note(format!("{} were published", acked.len()));
    let later = stand.connect().await?;
    drain(&later.read(&topic).await?, acked, ARRIVES_WITHIN).await?;
    later.close().await
}

/// 43: closing twice, also at once, is closing once; calls after it say that it is stopped; a new connection goes on.
pub async fn closed_and_opened_again(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let (one, two) = futures::future::join(client.close(), client.close()).await;
    one?;
    two?;
    client.close().await?;
    let late = timeout(ARRIVES_WITHIN, client.bus.publish(vec![message(&topic, "late")]))
        .await
        .map_err(Stop::failed)?
        .remove(0);
    ensure!(
        matches!(&late, Published::Unknown(error) | Published::Rejected(error) if error.kind() == ErrorKind::Stopped),
        "publishing on a closed bus is answered {late:?}"
    );
    match timeout(ARRIVES_WITHIN, reader.next(1)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::Stopped => {}
        other => return Err(Stop::failed(format!("reading on a closed bus is answered {other:?}"))),
    }
    let again = stand.connect().await?;
    let reader = again.read(&topic).await?;
    let delivery = take_one(&reader).await?;
    ensure!(id(&delivery) == "a", "{} came", id(&delivery));
    ack(&reader, vec![delivery]).await?;
    again.close().await
}
