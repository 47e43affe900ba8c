//! One connection that is kept up: made again for ever after it breaks, and watched meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::tcp::AMQPUriTcpExt;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{Connection, ConnectionProperties, Event};
use saga_core::adapter::{Backoff, HealthBoard};
use saga_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use crate::config::RabbitConfig;
use crate::error::{of_connect, stopped, unreachable};
use crate::security::{self, Tls};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether the connection is still there; the client does not tell every end by an event.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The part of the health that publishing is.
const PUBLISHING: &str = "publishing";

/// What a connection is for. A server that is short of memory or disk stops those that publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Publish,
    Consume,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// A connection that is kept up. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Line {
    now: watch::Receiver<Option<Arc<Connection>>>,
}

impl Line {
    /// Connects, or says within `connect_timeout_ms` why not; from then on keeps the connection up until `over` is dropped or true.
    pub(crate) async fn open(
        config: &RabbitConfig,
        purpose: Purpose,
        health: &HealthBoard,
        over: watch::Receiver<bool>,
    ) -> Result<Self, Error> {
        let keeper = Keeper {
            tls: read_files(config).await?,
            config: config.clone(),
            purpose,
            health: health.clone(),
            over,
            part: format!("connection to {}", purpose.name()),
        };
        let first = Arc::new(keeper.connect_first().await?);
        let (tell, now) = watch::channel(Some(Arc::clone(&first)));
        tokio::spawn(keeper.keep(first, tell));
        Ok(Self { now })
    }

    /// The connection, if it is up.
    pub(crate) fn up(&self) -> Option<Arc<Connection>> {
        self.now.borrow().as_ref().filter(|connection| connection.status().connected()).cloned()
    }

    /// Waits until the connection is up. Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`](ErrorKind::Stopped) once it is over.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let mut now = self.now.clone();
        let is_up = |now: &Option<Arc<Connection>>| {
            now.as_ref().is_some_and(|connection| connection.status().connected())
        };
        let up = now.wait_for(is_up).await.map_err(|_| stopped())?;
        up.clone().ok_or_else(stopped)
    }

    /// Says goodbye, so that the server need not find out.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.up() {
            // One that breaks meanwhile is closed, too.
            let _closed = connection.close(GOODBYE, "closed".into()).await;
        }
    }
}

/// AMQP's code for an ordinary end.
pub(crate) const GOODBYE: u16 = 200;

async fn read_files(config: &RabbitConfig) -> Result<Tls, Error> {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || security::tls(&config)).await;
    read.map_err(|error| {
        Error::new(ErrorKind::Retry, "the files for encryption could not be read").with_source(error)
    })?
}

/// The task that keeps a connection up.
struct Keeper {
    config: RabbitConfig,
    tls: Tls,
    purpose: Purpose,
    health: HealthBoard,
    over: watch::Receiver<bool>,
    /// What the health calls it.
    part: String,
}

/// How a connection ended.
enum End {
    Over,
    Lost(String),
}

impl Keeper {
    async fn connect_first(&self) -> Result<Connection, Error> {
        let deadline = Instant::now() + Duration::from_millis(self.config.connect_timeout_ms);
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        loop {
            let error = match timeout_at(deadline, self.connect_any()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_) => return Err(unreachable(&self.config.shown())),
            };
            let wait = backoff.wait();
            if error.kind() != ErrorKind::Retry || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    async fn keep(mut self, first: Arc<Connection>, tell: watch::Sender<Option<Arc<Connection>>>) {
        let mut connection = first;
        loop {
            let End::Lost(reason) = self.watch_over(&connection).await else { return };
            tracing::warn!(
                purpose = self.purpose.name(),
                reason,
                "the connection to RabbitMQ is lost; reconnecting"
            );
            self.health.down(&self.part, &reason);
            tell.send_replace(None);
            let Some(next) = self.connect_again().await else { return };
            connection = Arc::new(next);
            tell.send_replace(Some(Arc::clone(&connection)));
            self.health.up(&self.part);
            if self.purpose == Purpose::Publish {
                // A new connection is told of an alarm anew.
                self.health.up(PUBLISHING);
            }
            tracing::info!(purpose = self.purpose.name(), "connected to RabbitMQ again");
        }
    }

    /// Resolves when the connection is lost, or is not needed any more.
    async fn watch_over(&mut self, connection: &Connection) -> End {
        let mut events = Box::pin(connection.events_listener().fuse());
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reason = String::from("the connection to RabbitMQ is lost; reconnecting");
        loop {
            tokio::select! {
                event = events.select_next_some() => self.seen(event, &mut reason),
                _ = look.tick() => {}
                changed = self.over.changed() => {
                    if changed.is_err() || *self.over.borrow() {
                        return End::Over;
                    }
                }
            }
            if !connection.status().connected() {
                return End::Lost(reason);
            }
        }
    }

    fn seen(&self, event: Event, reason: &mut String) {
        match event {
            Event::ConnectionBlocked(why) => {
                let why = format!("RabbitMQ takes no messages for now: {why}");
                tracing::warn!(why, "publishing waits");
                self.health.down(PUBLISHING, why);
            }
            Event::ConnectionUnblocked => {
                self.health.up(PUBLISHING);
            }
            Event::Error(error) => {
                *reason = format!("the connection to RabbitMQ is lost; reconnecting: {error}")
            }
            _ => {}
        }
    }

    /// Tries until it is connected, or not needed any more.
    async fn connect_again(&mut self) -> Option<Connection> {
        let limit = Duration::from_millis(self.config.connect_timeout_ms);
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        loop {
            let mut over = self.over.clone();
            let attempt = async {
                sleep(backoff.wait()).await;
                timeout(limit, self.connect_any()).await
            };
            let error = tokio::select! {
                _ = over.wait_for(|over| *over) => return None,
                attempted = attempt => match attempted {
                    Ok(Ok(connection)) => return Some(connection),
                    Ok(Err(error)) => error,
                    Err(_) => unreachable(&self.config.shown()),
                },
            };
            self.health.down(&self.part, &error);
            tracing::debug!(%error, purpose = self.purpose.name(), "not connected to RabbitMQ yet");
        }
    }

    /// Tries each server once.
    async fn connect_any(&self) -> Result<Connection, Error> {
        let mut last = unreachable(&self.config.shown());
        for server in &self.config.servers {
            match self.dial(server).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = of_connect(error, server),
            }
            if last.kind() == ErrorKind::Permanent {
                break;
            }
        }
        Err(last)
    }

    async fn dial(&self, server: &str) -> lapin::Result<Connection> {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
        let uri = self.uri(host.trim_matches(['[', ']']), port.parse().unwrap_or_default());
        let mut options = ConnectionProperties::default()
            .with_connection_name(format!("{} ({})", self.config.client_name, self.purpose.name()).into());
        for (name, value) in &*self.config.client {
            options = options.with_client_property(name.as_str().into(), value.as_str().into());
        }
        let tls = self.tls.clone();
        let connect = async move |uri: AMQPUri, runtime| {
            let stream = AMQPUriTcpExt::connect_async(&uri, &runtime).await?;
            #[cfg(feature = "tls")]
            if let Some(tls) = &tls {
                return Ok(stream.into_rustls(tls, &uri.authority.host).await?);
            }
            #[cfg(not(feature = "tls"))]
            let Tls = tls;
            Ok(stream)
        };
        Connection::connector(uri, lapin::runtime::default_runtime()?, connect, options).await
    }

    /// Plain always: encryption is put around it here, with the authorities that were configured and no others.
    fn uri(&self, host: &str, port: u16) -> AMQPUri {
        let config = &self.config;
        let username = config.user.clone().unwrap_or_else(|| "guest".to_owned());
        let password = match &config.password {
            Some(password) => password.expose().to_owned(),
            None if username == "guest" => "guest".to_owned(),
            None => String::new(),
        };
        let auth_mechanism = match &*config.auth_mechanism {
            "EXTERNAL" => SASLMechanism::External,
            _ => SASLMechanism::Plain,
        };
        AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: host.to_owned(),
                port,
            },
            vhost: config.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(u16::try_from(config.heartbeat_ms.div_ceil(1_000)).unwrap_or(u16::MAX)),
                auth_mechanism: Some(auth_mechanism),
                ..AMQPQueryString::default()
            },
        }
    }
}
