//! What becomes of a delivery.

use std::time::Duration;

use saga_core::ports::{Delivery, Settled, Settlement};
use tokio::time::{Instant, timeout};

use crate::check::Check;
use crate::client::{ARRIVES_WITHIN, ack, drain, id, message, messages, numbers, quiet, take, take_one};
use crate::stand::Stand;

/// A retry comes at the latest so long after it is due, besides half of its wait.
const LATE_MAX: Duration = Duration::from_secs(10);

/// 14: what is acknowledged does not come again, to nobody, ever.
pub async fn acknowledged_once(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 20)).await?;
    let reader = client.read(&topic).await?;
    let batch = take(&reader, 20).await?;
    ack(&reader, batch).await?;
    quiet(&reader).await?;
    drop(reader);
    client.close().await?;
    let later = stand.connect().await?;
    quiet(&later.read(&topic).await?).await?;
    later.close().await
}

/// 15: a delivery that is dropped without being settled comes again.
pub async fn dropped(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let reader = client.read(&topic).await?;
    drop(take_one(&reader).await?);
    let again = take_one(&reader).await?;
    ensure!(id(&again) == "a", "{} came", id(&again));
    // So too when the whole consumer goes.
    client.abandon([reader]);
    let later = stand.connect().await?;
    let reader = later.read(&topic).await?;
    let third = take_one(&reader).await?;
    ensure!(id(&third) == "a", "{} came", id(&third));
    drop(again);
    ack(&reader, vec![third]).await?;
    later.close().await
}

/// 16: a delivery that is retried comes again with the attempt one higher.
pub async fn retried(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a").keyed("k").with_headers([("h", "v")])]).await?;
    let reader = client.read(&topic).await?;
    for attempt in 1..=3 {
        let delivery = take_one(&reader).await?;
        ensure!(delivery.attempt == attempt, "attempt {attempt} is delivered as {}", delivery.attempt);
        let Delivery { message, .. } = &delivery;
        ensure!(
            message.id.as_str() == "a"
                && message.key.as_deref() == Some("k")
                && message.headers.get("h") == Some("v"),
            "attempt {attempt} has changed: {message:?}"
        );
        retry(&reader, delivery, Duration::ZERO).await?;
    }
    let last = take_one(&reader).await?;
    ack(&reader, vec![last]).await?;
    quiet(&reader).await?;
    client.close().await
}

async fn retry(reader: &crate::client::Reader, delivery: Delivery, after: Duration) -> Check {
    let answers = reader.settle(vec![delivery.retry(after)]).await;
    ensure!(answers == [Settled::Settled], "a retry in time is {answers:?}");
    Ok(())
}

/// 17: `retry(after)` does not come early, nor much too late.
pub async fn retried_later(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    for ms in [300, 2_000] {
        let after = Duration::from_millis(ms);
        client.publish(vec![message(&topic, ms)]).await?;
        let delivery = take_one(&reader).await?;
        let begun = Instant::now();
        retry(&reader, delivery, after).await?;
        let again = take_one(&reader).await?;
        let waited = begun.elapsed();
        ensure!(waited >= after, "a retry after {after:?} came after {waited:?}");
        ensure!(waited <= after + after / 2 + LATE_MAX, "a retry after {after:?} came after {waited:?}");
        stand.note(format!("{after:?} took {waited:.1?}"));
        ack(&reader, vec![again]).await?;
    }
    client.close().await
}

/// 18: a handler that panics has not settled: its delivery comes again.
pub async fn panicking_handler(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let reader = client.read(&topic).await?;
    let delivery = take_one(&reader).await?;
    let handler = tokio::spawn(async move {
        let _held = delivery;
        // Unwinds as a panic does, without the noise of its message.
        std::panic::resume_unwind(Box::new("a handler panics"));
    });
    ensure!(handler.await.is_err(), "the handler did not panic");
    let again = take_one(&reader).await?;
    ensure!(id(&again) == "a" && again.attempt >= 2, "{} came as attempt {}", id(&again), again.attempt);
    ack(&reader, vec![again]).await?;
    client.close().await
}

/// 19: settling a delivery twice does not compile: settling consumes it, and neither it nor its settlement can be copied. (That consuming it
/// twice does not compile is a `compile_fail` test in the documentation of [`Delivery`]; here it is checked that there is no copy to be made.)
pub async fn settled_twice_does_not_compile(_: &Stand) -> Check {
    /// Method lookup finds the inherent one first, which is there only for what can be cloned.
    struct Probe<T>(std::marker::PhantomData<T>);
    trait Otherwise {
        fn can_be_cloned(&self) -> bool {
            false
        }
    }
    impl<T> Otherwise for Probe<T> {}
    impl<T: Clone> Probe<T> {
        fn can_be_cloned(&self) -> bool {
            true
        }
    }
    ensure!(Probe::<String>(std::marker::PhantomData).can_be_cloned(), "the probe finds nothing");
    ensure!(!Probe::<Delivery>(std::marker::PhantomData).can_be_cloned(), "a delivery can be cloned");
    ensure!(!Probe::<Settlement>(std::marker::PhantomData).can_be_cloned(), "a settlement can be cloned");
    Ok(())
}

/// 21: acknowledged out of order and then killed: no message that was not settled is lost.
pub async fn acknowledged_out_of_order(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, 20)).await?;
    let reader = client.read(&topic).await?;
    let (settled, kept): (Vec<_>, Vec<_>) = take(&reader, 20)
        .await?
        .into_iter()
        .partition(|delivery| id(delivery).parse::<usize>().is_ok_and(|n| n >= 10));
    ack(&reader, settled).await?;
    client.abandon([reader]);
    let later = stand.connect().await?;
    let within = ARRIVES_WITHIN + stand.lease * 2;
    let again = drain(&later.read(&topic).await?, numbers(10), within).await?;
    stand.note(format!("{again} that were acknowledged came again"));
    drop(kept);
    later.close().await
}

/// 22: a message that always fails does not keep messages of other keys from being handled.
pub async fn poison(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    client.publish(vec![message(&topic, "poison").keyed("bad")]).await?;
    let poison = take_one(&reader).await?;
    retry(&reader, poison, Duration::from_millis(100)).await?;
    client.publish(messages(&topic, 50).into_iter().map(|message| message.keyed("good")).collect()).await?;
    let (mut good, mut bad) = (0, 1);
    let deadline = Instant::now() + ARRIVES_WITHIN;
    while good < 50 {
        ensure!(Instant::now() < deadline, "only {good} of 50 got past the poison");
        let Ok(batch) = timeout(Duration::from_secs(5), reader.next(10)).await else { continue };
        let mut settlements = Vec::new();
        for delivery in batch? {
            if id(&delivery) == "poison" {
                bad += 1;
                settlements.push(delivery.retry(Duration::from_millis(100)));
            } else {
                good += 1;
                settlements.push(delivery.ack());
            }
        }
        reader.settle(settlements).await;
    }
    stand.note(format!("the poison was delivered {bad} times meanwhile"));
    client.close().await
}

/// 23: the count of attempts survives the consumer's restart.
pub async fn attempt_survives(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let reader = client.read(&topic).await?;
    for _ in 0..2 {
        let delivery = take_one(&reader).await?;
        retry(&reader, delivery, Duration::ZERO).await?;
    }
    let third = take_one(&reader).await?;
    ensure!(third.attempt == 3, "the third delivery is attempt {}", third.attempt);
    client.abandon([reader]);
    drop(third);
    let later = stand.connect().await?;
    let reader = later.read(&topic).await?;
    let again = take_one(&reader).await?;
    ensure!(again.attempt >= 3, "after a restart attempt 3 is delivered as {}", again.attempt);
    ack(&reader, vec![again]).await?;
    later.close().await
}

/// 24: what a handler does to the headers of its copy is not seen by the next attempt.
pub async fn edits_do_not_leak(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(vec![message(&topic, "a").with_headers([("kept", "1")])]).await?;
    let reader = client.read(&topic).await?;
    let mut delivery = take_one(&reader).await?;
    delivery.message.headers = delivery.message.headers.without(&["kept"]).with([("added", "1")]);
    delivery.message.payload = "changed".into();
    retry(&reader, delivery, Duration::ZERO).await?;
    let again = take_one(&reader).await?;
    let headers = &again.message.headers;
    ensure!(
        headers.get("kept") == Some("1") && headers.get("added").is_none(),
        "the next attempt has {headers:?}"
    );
    ensure!(again.message.payload.bytes() == "a", "the next attempt has another payload");
    ack(&reader, vec![again]).await?;
    client.close().await
}

/// 55: a message that waits for its retry holds up no other of its topic, unless order was asked for.
pub async fn retry_holds_up_no_other(stand: &Stand) -> Check {
    const WAIT: Duration = Duration::from_secs(6);
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    let mut batch = messages(&topic, 20).into_iter().map(|message| message.keyed("k"));
    client.publish(batch.by_ref().take(1).collect()).await?;
    let first = take_one(&reader).await?;
    let begun = Instant::now();
    retry(&reader, first, WAIT).await?;
    client.publish(batch.collect()).await?;
    drain(&reader, numbers(20).skip(1), WAIT - begun.elapsed()).await?;
    ensure!(begun.elapsed() < WAIT, "the others came only after the retry");
    drain(&reader, ["0".to_owned()], ARRIVES_WITHIN).await?;
    client.close().await
}
