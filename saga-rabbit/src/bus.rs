use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::{
    Capabilities, Declaration, EventBus, Health, Published, Subscription, SubscriptionSpec,
};
use saga_core::{Error, ErrorKind, Message};

use crate::config::RabbitConfig;
use crate::connect::Link;
use crate::subscribe::RabbitSubscription;
use crate::{publish, topology};

/// An [`EventBus`] on RabbitMQ, and its [`BusAdmin`](saga_core::ports::BusAdmin). Cloning shares the connections.
#[derive(Clone)]
pub struct RabbitBus {
    pub(crate) link: Arc<Link>,
}

impl RabbitBus {
    /// Connects to what a URL names; see [`RabbitConfig`] for what can stand in it.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a wrong URL or file; [`Permanent`](ErrorKind::Permanent) when the server refuses the credentials or
    /// the virtual host, or cannot be trusted; [`Retry`](ErrorKind::Retry) when none answers within `connect_timeout_ms`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::with_config(RabbitConfig::from_url(url)?).await
    }

    /// Connects as configured.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn with_config(config: RabbitConfig) -> Result<Self, Error> {
        Ok(Self { link: Link::open(config).await? })
    }
}

/// Without secrets.
impl fmt::Debug for RabbitBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RabbitBus");
        shown
            .field("servers", &self.link.config.shown())
            .field("health", &self.link.health)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventBus for RabbitBus {
    /// `lag` is not declared: AMQP does not tell what other processes hold, so it is exact only for a group that one process reads.
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.key_order = true;
        capabilities.delayed_retry = true;
        capabilities.native_dead_letters = true;
        capabilities.message_bytes_max = Some(self.link.config.message_bytes_max);
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
        let message = "RabbitMQ publishes no batch over several queues whole or not at all; publish it message by message, or keep an outbox";
        Published::Rejected(Error::new(ErrorKind::NotAllowed, message))
    }

    fn health(&self) -> Health {
        self.link.health.health()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        Ok(Arc::new(RabbitSubscription::join(&self.link, spec).await?))
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.link.close(deadline).await
    }
}
