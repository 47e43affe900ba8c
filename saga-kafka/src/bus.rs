use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::ports::{
    Capabilities, Declaration, EventBus, Health, Published, Subscription, SubscriptionSpec,
};
use saga_core::{Error, Message};

use crate::config::KafkaConfig;
use crate::connect::Link;
use crate::subscribe::KafkaSubscription;
use crate::{atomic, publish, topology};

/// An [`EventBus`] on Kafka, and its [`BusAdmin`](saga_core::ports::BusAdmin). Cloning shares the connection.
#[derive(Clone)]
pub struct KafkaBus {
    pub(crate) link: Arc<Link>,
}

impl KafkaBus {
    /// Connects to what a URL names; see [`KafkaConfig`] for what can stand in it.
    ///
    /// # Errors
    /// [`Invalid`](saga_core::ErrorKind::Invalid) for a wrong URL or setting; [`Permanent`](saga_core::ErrorKind::Permanent) when the
    /// brokers refuse the credentials or cannot be trusted; [`Retry`](saga_core::ErrorKind::Retry) when none answers within
    /// `connect_timeout_ms`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::with_config(KafkaConfig::from_url(url)?).await
    }

    /// Connects as configured.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn with_config(config: KafkaConfig) -> Result<Self, Error> {
        Ok(Self { link: Link::open(config).await? })
    }
}

/// Without secrets.
impl fmt::Debug for KafkaBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KafkaBus");
        shown
            .field("servers", &self.link.config.shown())
            .field("health", &self.link.health)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventBus for KafkaBus {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.key_order = true;
        capabilities.delayed_retry = true;
        capabilities.atomic_publish = true;
        capabilities.replay = true;
        capabilities.lag = true;
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

    async fn publish_atomic(&self, batch: Vec<Message>) -> Published {
        atomic::publish(&self.link, batch).await
    }

    fn health(&self) -> Health {
        self.link.health.health()
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Arc<dyn Subscription>, Error> {
        Ok(Arc::new(KafkaSubscription::join(&self.link, spec).await?))
    }

    async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.link.close(deadline).await
    }
}
