use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_trait::async_trait;
use saga_core::ports::{
    Capabilities, Declaration, EventBus, Health, Published, Subscription, SubscriptionSpec,
};
use saga_core::{Error, ErrorKind, Message};

use crate::config::NatsConfig;
use crate::connect::Link;
use crate::publish;
use crate::subscribe::NatsSubscription;
use crate::topology;

/// An [`EventBus`] on NATS JetStream, and its [`BusAdmin`](saga_core::ports::BusAdmin). Cloning shares the connection.
#[derive(Clone)]
pub struct NatsBus {
    pub(crate) link: Arc<Link>,
}

impl NatsBus {
    /// Connects to what a URL names; see [`NatsConfig`] for what can stand in it.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a wrong URL; [`Permanent`](ErrorKind::Permanent) when the server refuses the credentials or cannot
    /// be trusted; [`Retry`](ErrorKind::Retry) when no server answers within `connect_timeout_ms`, or it has no JetStream.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::with_config(NatsConfig::from_url(url)?).await
    }

    /// Connects as configured.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn with_config(config: NatsConfig) -> Result<Self, Error> {
        Self::probed(Link::open(config).await?).await
    }

    /// Over a client of one's own, with whatever settings it has; of the configuration, what concerns the connection is not used. What
    /// happens to the connection goes to that client's own event callback, so [`health`](EventBus::health) shows only its present state.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a wrong configuration; [`Retry`](ErrorKind::Retry) when the server has no JetStream.
    pub async fn with_client(client: Client, config: NatsConfig) -> Result<Self, Error> {
        Self::probed(Link::over(client, config)?).await
    }

    async fn probed(link: Link) -> Result<Self, Error> {
        let asked = link.jetstream.query_account().await;
        asked.map_err(|error| {
            let message = format!(
                "NATS at {} has no JetStream, or does not answer; start it with -js",
                link.config.shown()
            );
            Error::new(ErrorKind::Retry, message).with_source(error)
        })?;
        Ok(Self { link: Arc::new(link) })
    }
}

/// Without secrets.
impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NatsBus");
        shown
            .field("servers", &self.link.config.shown())
            .field("health", &self.link.health)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventBus for NatsBus {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.key_order = true;
        capabilities.delayed_retry = true;
        capabilities.replay = true;
        capabilities.lag = true;
        capabilities.message_bytes_max = Some(publish::message_bytes_max(&self.link));
        capabilities
    }

    async fn declare(&self, declarations: &[Declaration]) -> Result<(), Error> {
        self.link.check_open()?;
        for declaration in declarations {
            topology::declare(&self.link, declaration).await?;
        }
        Ok(())
    }

    async fn publish(&self, batch: Vec<Message>) -> Vec<Published> {
        publish::publish(&self.link, batch).await
    }

    async fn publish_atomic(&self, _batch: Vec<Message>) -> Published {
        let message = "NATS can publish a batch whole or not at all only within one stream, and each topic has its own; \
                       publish it message by message, or keep an outbox";
        Published::Rejected(Error::new(ErrorKind::NotAllowed, message))
    }

    fn health(&self) -> Health {
        self.link.look();
        self.link.health.health()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        Ok(Arc::new(NatsSubscription::join(&self.link, spec).await?))
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.link.close(deadline).await
    }
}
