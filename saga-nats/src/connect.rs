//! The connection: opening it, watching it, closing it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use saga_core::adapter::{Backoff, HealthBoard};
use saga_core::{Error, ErrorKind};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::NatsConfig;
use crate::error::{of_connect, stopped, unreachable};
use crate::security;
use crate::subscribe::Reading;

/// What everything of one connection shares.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    pub(crate) config: NatsConfig,
    pub(crate) health: HealthBoard,
    /// How many messages, and how many bytes, may still be sent without an answer.
    pub(crate) messages: Semaphore,
    pub(crate) bytes: Semaphore,
    /// Counts how often the connection was made.
    pub(crate) connected: watch::Receiver<u64>,
    closed: watch::Sender<bool>,
    readings: Mutex<Vec<Weak<Reading>>>,
}

/// The part of the health that the connection is.
const CONNECTION: &str = "connection";

impl Link {
    /// Connects, or says within `connect_timeout_ms` why not.
    pub(crate) async fn open(config: NatsConfig) -> Result<Self, Error> {
        config.check()?;
        let health = HealthBoard::default();
        let (count, connected) = watch::channel(0);
        let client = connect(&config, &health, &count).await?;
        Ok(Self::new(client, config, health, connected))
    }

    /// Over a client of the user's own, whose events are not seen.
    pub(crate) fn over(client: Client, config: NatsConfig) -> Result<Self, Error> {
        config.check()?;
        let (_, connected) = watch::channel(0);
        Ok(Self::new(client, config, HealthBoard::default(), connected))
    }

    fn new(client: Client, config: NatsConfig, health: HealthBoard, connected: watch::Receiver<u64>) -> Self {
        let request_timeout = Duration::from_millis(config.request_timeout_ms);
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(request_timeout)
            .ack_timeout(request_timeout)
            .max_ack_inflight(config.publish_in_flight_max)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Self {
            client,
            jetstream,
            messages: Semaphore::new(config.publish_in_flight_max),
            bytes: Semaphore::new(config.publish_bytes_max.min(Semaphore::MAX_PERMITS)),
            config,
            health,
            connected,
            closed: watch::Sender::new(false),
            readings: Mutex::default(),
        }
    }

    /// Writes down how the connection is by now: a client of the user's own tells no events.
    pub(crate) fn look(&self) {
        match self.client.connection_state() {
            State::Connected => self.health.up(CONNECTION),
            state => self.health.down(CONNECTION, format!("the connection to NATS is {state}; reconnecting")),
        };
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(stopped()) } else { Ok(()) }
    }

    /// Keeps a reading in mind, for closing.
    pub(crate) fn remember(&self, reading: &Arc<Reading>) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|reading| reading.strong_count() > 0);
        readings.push(Arc::downgrade(reading));
    }

    /// Stops intake, lets what is delivered be settled, flushes, and lets go of the rest.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + deadline;
        let readings: Vec<_> = {
            let readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
            readings.iter().filter_map(Weak::upgrade).collect()
        };
        readings.iter().for_each(|reading| reading.close());
        let is_first = !self.closed.send_replace(true);
        let all = u32::try_from(self.config.publish_in_flight_max).unwrap_or(u32::MAX);
        let drained = async {
            for reading in &readings {
                reading.deliveries.settled().await;
            }
            let _permits = self.messages.acquire_many(all).await;
        };
        let is_drained = timeout_at(deadline, drained).await.is_ok();
        for reading in &readings {
            reading.leave();
        }
        if is_first {
            let left = async {
                for reading in &readings {
                    reading.left().await;
                }
                let _flushed = self.client.flush().await;
                let _drained = self.client.drain().await;
            };
            let _late =
                timeout(deadline.saturating_duration_since(Instant::now()).max(LEAVE_MIN), left).await;
        }
        if is_drained {
            return Ok(());
        }
        let message = "NATS was closed at its deadline: what was unsettled is delivered again, what was unanswered may not be published";
        Err(Error::new(ErrorKind::Unknown, message))
    }
}

/// Giving deliveries back gets this much time even past the deadline: it is quick, and saves others the wait for it.
const LEAVE_MIN: Duration = Duration::from_millis(500);

async fn connect(
    config: &NatsConfig,
    health: &HealthBoard,
    count: &watch::Sender<u64>,
) -> Result<Client, Error> {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + Duration::from_millis(config.connect_timeout_ms);
    let mut backoff = Backoff::new(FIRST, MAX);
    loop {
        let options = options(config, health.clone(), count.clone()).await?;
        let scheme = if config.tls { "tls" } else { "nats" };
        let servers: Vec<String> =
            config.servers.iter().map(|server| format!("{scheme}://{server}")).collect();
        // With several servers that do not answer, one round could take longer than all may.
        let error = match timeout_at(deadline, options.connect(servers)).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => of_connect(error, &config.shown()),
            Err(_) => unreachable(&config.shown()),
        };
        let wait = backoff.wait();
        if error.kind() != ErrorKind::Retry || Instant::now() + wait >= deadline {
            return Err(error);
        }
        sleep(wait).await;
    }
}

async fn options(
    config: &NatsConfig,
    health: HealthBoard,
    count: watch::Sender<u64>,
) -> Result<ConnectOptions, Error> {
    let settings = config.clone();
    let tls = tokio::task::spawn_blocking(move || security::tls(&settings)).await.map_err(|error| {
        Error::new(ErrorKind::Retry, "the files for encryption could not be read").with_source(error)
    })??;
    let mut options = ConnectOptions::new()
        .name(&config.client_name)
        .require_tls(config.tls)
        .ping_interval(Duration::from_millis(config.ping_interval_ms))
        .connection_timeout(Duration::from_millis(config.connect_timeout_ms.min(5_000)))
        .request_timeout(Some(Duration::from_millis(config.request_timeout_ms)))
        .max_reconnects(None)
        .event_callback(move |event| {
            seen(&event, &health, &count);
            std::future::ready(())
        });
    if let Some(user) = &config.user {
        let password = config.password.as_ref().map_or("", |password| password.expose());
        options = options.user_and_password(user.clone(), password.to_owned());
    }
    if let Some(token) = &config.token {
        options = options.token(token.expose().to_owned());
    }
    if let Some(seed) = &config.nkey_seed {
        options = options.nkey(seed.expose().to_owned());
    }
    if let Some(file) = &config.credentials_file {
        options = options.credentials_file(file).await.map_err(|error| {
            let message = format!("credentials_file {} cannot be read", file.display());
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
    }
    Ok(options.tls_client_config(tls))
}

/// Writes down what the client says of its connection.
fn seen(event: &Event, health: &HealthBoard, count: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            health.up(SERVER);
            if health.up(CONNECTION) {
                tracing::info!("connected to NATS again");
            }
            count.send_modify(|count| *count += 1);
        }
        Event::Disconnected | Event::Closed => {
            if health.down(CONNECTION, "the connection to NATS is lost; reconnecting") {
                tracing::warn!("the connection to NATS is lost; reconnecting");
            }
        }
        Event::ServerError(error) => {
            tracing::warn!(%error, "NATS reports an error");
            health.down(SERVER, error);
        }
        Event::ClientError(error) => tracing::warn!(%error, "the NATS client reports an error"),
        Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => tracing::debug!(%event, "NATS"),
    }
}

/// The part of the health that the server's own complaints are, as about permissions. They stand until the next connection.
const SERVER: &str = "server";
