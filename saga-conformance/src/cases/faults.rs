//! What breaks.

use std::time::Duration;

use self::rand::Lot;
use saga_core::ErrorKind;
use saga_core::ports::{Published, Settled};
use tokio::time::{Instant, sleep, timeout};

use crate::check::{Check, Stop};
use crate::child::{self, Task};
use crate::client::{ARRIVES_WITHIN, ack, drain, message, messages, numbers, take_one};
use crate::proxy::Weather;
use crate::stand::Stand;

/// Within this time a broken or returned connection is noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

/// 20: a delivery that the broker has taken back while the consumer was cut off is delivered again, and settling the old one is
/// [`Stale`](Settled::Stale).
pub async fn stale_after_reconnect(stand: &Stand) -> Check {
    let (proxy, url) = stand.proxied().await?;
    let (direct, cut_off) = (stand.connect().await?, stand.connect_to(url).await?);
    let topic = direct.commands(stand).await?;
    direct.publish(vec![message(&topic, "a")]).await?;
    let reader = cut_off.read(&topic).await?;
    let old = take_one(&reader).await?;
    proxy.set(Weather::Cut);
    let other = direct.read(&topic).await?;
    let again = timeout(NOTICED_WITHIN + stand.lease * 2, other.next(1)).await;
    let again = again
        .map_err(|_| Stop::failed("the delivery of a consumer that is cut off does not come again"))??;
    proxy.set(Weather::Clear);
    ack(&other, again).await?;
    let deadline = Instant::now() + NOTICED_WITHIN;
    while !cut_off.bus.health().is_up() {
        ensure!(Instant::now() < deadline, "the connection does not come back: {}", cut_off.bus.health());
        sleep(Duration::from_millis(100)).await;
    }
    let answers = timeout(ARRIVES_WITHIN, reader.settle(vec![old.ack()])).await.map_err(Stop::failed)?;
    ensure!(answers == [Settled::Stale], "settling what was taken back is {answers:?}");
    direct.close().await
}

/// 44: the broker is killed and started again while messages are published and consumed: everything that was acknowledged is seen.
pub async fn broker_restart(stand: &Stand) -> Check {
    const COUNT: usize = 400;
    let server = stand.server()?;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    let publishing = async {
        for chunk in messages(&topic, COUNT).chunks(10) {
            client.publish_surely(chunk.to_vec(), NOTICED_WITHIN).await?;
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let restarting = async {
        sleep(Duration::from_millis(700)).await;
        server.kill().await?;
        sleep(Duration::from_millis(500)).await;
        Ok(server.start().await?)
    };
    let draining = drain(&reader, numbers(COUNT), NOTICED_WITHIN * 2);
    let ((), (), duplicates) = futures::future::try_join3(publishing, restarting, draining).await?;
    stand.note(format!("{duplicates} came more than once"));
    client.close().await
}

/// 45: a connection that is cut, and one that is only half open, is noticed and shown in the health, and what was published meanwhile
/// arrives when it is back.
pub async fn cut_and_half_open(stand: &Stand) -> Check {
    let (proxy, url) = stand.proxied().await?;
    let (direct, broken) = (stand.connect().await?, stand.connect_to(url).await?);
    let topic = direct.commands(stand).await?;
    let reader = broken.read(&topic).await?;
    for (nth, weather) in [Weather::Cut, Weather::HalfOpen].into_iter().enumerate() {
        proxy.set(weather);
        let begun = Instant::now();
        while broken.bus.health().is_up() {
            ensure!(begun.elapsed() < NOTICED_WITHIN, "{weather:?} is not noticed within {NOTICED_WITHIN:?}");
            sleep(Duration::from_millis(50)).await;
        }
        stand.note(format!("{weather:?} noticed after {:.1?}", begun.elapsed()));
        direct.publish(vec![message(&topic, nth)]).await?;
        // What is half open stays so; a new connection passes.
        proxy.set(Weather::Cut);
        proxy.set(Weather::Clear);
        drain(&reader, [nth.to_string()], NOTICED_WITHIN + stand.lease).await?;
        let back = Instant::now();
        while !broken.bus.health().is_up() {
            ensure!(back.elapsed() < NOTICED_WITHIN, "the health stays down: {}", broken.bus.health());
            sleep(Duration::from_millis(50)).await;
        }
    }
    direct.close().await
}

/// 46: a consumer is killed at random moments, again and again: together, those that follow each other handle everything.
pub async fn killed_consumer(stand: &Stand) -> Check {
    const COUNT: usize = 300;
    stand.server()?;
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    client.publish(messages(&topic, COUNT)).await?;
    let mut lot = Lot::new();
    let mut handled = Vec::new();
    for _ in 0..4 {
        let (mut child, mut told) = child::start(&Task::Consume(topic.clone()))?;
        let first = timeout(ARRIVES_WITHIN + stand.lease * 2, told.recv()).await;
        handled.extend(first.ok().flatten());
        sleep(Duration::from_millis(lot.below(40))).await;
        child.kill().await.map_err(Stop::failed)?;
        while let Some(id) = told.recv().await {
            handled.push(id);
        }
    }
    ensure!(!handled.is_empty(), "the children handled nothing");
    // What a child has told is handled; whether it was acknowledged in time only decides whether it comes again.
    let missing = numbers(COUNT).filter(|wanted| !handled.contains(wanted)).collect::<Vec<_>>();
    stand.note(format!("seed {}, {} handled before the last kill", lot.seed, handled.len()));
    drain(&client.read(&topic).await?, missing, ARRIVES_WITHIN + stand.lease * 2).await?;
    client.close().await
}

/// 47: when the broker is not there at the start, the error says so within a bound, names the place, and trying again is worth it.
pub async fn absent_broker(stand: &Stand) -> Check {
    let (proxy, url) = stand.proxied().await?;
    let address = proxy.address();
    proxy.set(Weather::Cut);
    let begun = Instant::now();
    match timeout(NOTICED_WITHIN, stand.connect_to(url.clone())).await {
        Ok(Err(error)) => {
            ensure!(error.kind() == ErrorKind::Retry, "an absent broker is {:?}: {error}", error.kind());
            let named = error.to_string().contains(&address.to_string());
            ensure!(named, "the error does not say where the broker was looked for: {error}");
            stand.note(format!("after {:.1?}: {error}", begun.elapsed()));
        }
        Ok(Ok(_)) => return Err(Stop::failed("a broker that is not there was connected to")),
        Err(_) => {
            return Err(Stop::failed(format!(
                "connecting to an absent broker took more than {NOTICED_WITHIN:?}"
            )));
        }
    }
    proxy.set(Weather::Clear);
    let client = stand.connect_to(url).await.map_err(Stop::from)?;
    client.close().await
}

/// 48: when the topic is deleted underneath, reading and publishing say so within a bound; nothing hangs silently.
pub async fn deleted_topic(stand: &Stand) -> Check {
    let (client, operator) = (stand.connect().await?, stand.connect().await?);
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    client.publish(vec![message(&topic, "a")]).await?;
    let delivery = take_one(&reader).await?;
    ack(&reader, vec![delivery]).await?;
    operator.admin.delete_topic(&topic).await?;
    let begun = Instant::now();
    match timeout(NOTICED_WITHIN, reader.next(1)).await {
        Ok(Err(error)) => stand.note(format!("after {:.1?}: {:?}", begun.elapsed(), error.kind())),
        Ok(Ok(batch)) => {
            return Err(Stop::failed(format!("{} deliveries came from a deleted topic", batch.len())));
        }
        Err(_) => {
            return Err(Stop::failed(format!(
                "reading a deleted topic says nothing within {NOTICED_WITHIN:?}"
            )));
        }
    }
    let deadline = Instant::now() + NOTICED_WITHIN;
    loop {
        let answer = timeout(NOTICED_WITHIN, client.bus.publish(vec![message(&topic, "b")]))
            .await
            .map_err(Stop::failed)?
            .remove(0);
        match answer {
            Published::Rejected(error) if error.kind() == ErrorKind::NotFound => break,
            other => {
                ensure!(Instant::now() < deadline, "publishing to a deleted topic is answered {other:?}")
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    operator.close().await?;
    let _closed = client.bus.close(Duration::from_secs(5)).await;
    Ok(())
}

/// 49: health and lag are true while the broker is up, down, and behind.
pub async fn health_and_lag(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    ensure!(client.bus.health().is_up(), "up, the health is {}", client.bus.health());
    client.publish(messages(&topic, 30)).await?;
    let held = crate::client::take(&reader, 5).await?;
    lag(&reader, 25, 5).await?;
    let groups = client.admin.groups(&topic).await?;
    ensure!(groups.len() == 1 && groups[0].lag == 30, "the groups are {groups:?}");
    let handled: Vec<_> = held.iter().map(crate::client::id).collect();
    ack(&reader, held).await?;
    lag(&reader, 25, 0).await?;
    drain(&reader, numbers(30).filter(|id| !handled.contains(id)), ARRIVES_WITHIN).await?;
    lag(&reader, 0, 0).await?;
    let Ok(server) = stand.server() else {
        stand.note("the bus has no server to be down");
        return client.close().await;
    };
    server.kill().await?;
    let begun = Instant::now();
    while client.bus.health().is_up() {
        ensure!(begun.elapsed() < NOTICED_WITHIN, "down, the health is still up after {NOTICED_WITHIN:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let down = timeout(NOTICED_WITHIN, reader.lag()).await.map_err(Stop::failed)?;
    ensure!(down.as_ref().is_err_and(saga_core::Error::is_retryable), "down, the lag is {down:?}");
    server.start().await?;
    let begun = Instant::now();
    while !client.bus.health().is_up() {
        ensure!(begun.elapsed() < NOTICED_WITHIN, "up again, the health is {}", client.bus.health());
        sleep(Duration::from_millis(50)).await;
    }
    client.publish_surely(vec![message(&topic, "after")], NOTICED_WITHIN).await?;
    drain(&reader, ["after".to_owned()], NOTICED_WITHIN + stand.lease).await?;
    client.close().await
}

/// Waits until the lag is so; it need not be at once.
async fn lag(reader: &crate::client::Reader, ready: u64, in_flight: u64) -> Check {
    let deadline = Instant::now() + ARRIVES_WITHIN;
    loop {
        let lag = reader.lag().await?;
        if (lag.ready, lag.in_flight) == (ready, in_flight) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the lag is {lag:?}, and should be {ready} ready, {in_flight} in flight"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

mod rand {
    use std::time::{SystemTime, UNIX_EPOCH};

    /// Numbers drawn from a seed that is shown with the case.
    pub(super) struct Lot {
        pub(super) seed: u64,
        state: u64,
    }

    impl Lot {
        pub(super) fn new() -> Self {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seed = u64::from(since.subsec_nanos()) | 1;
            Self { seed, state: seed }
        }

        /// A number below `bound`, by xorshift.
        pub(super) fn below(&mut self, bound: u64) -> u64 {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.state % bound
        }
    }
}
