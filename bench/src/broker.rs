//! The brokers by their URLs: our adapters to them, and what their servers use.

use std::sync::Arc;
use std::time::Duration;

use saga_core::EventBus;
use saga_core::ports::BusAdmin;
use saga_core::record::Topic;
use saga_kafka::KafkaBus;
use saga_nats::NatsBus;
use saga_rabbit::RabbitBus;

use crate::process::{cpu_time_of_process, listener};
use crate::raw::{Rabbit, Raw};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broker {
    Kafka,
    Rabbit,
    Nats,
}

/// Our adapter, as both ports.
pub(crate) struct Adapter {
    pub(crate) bus: Arc<dyn EventBus>,
    admin: Arc<dyn BusAdmin>,
}

impl Broker {
    /// The broker that a URL names.
    pub(crate) fn of(url: &str) -> Option<Self> {
        match url.split_once("://")?.0 {
            "kafka" => Some(Self::Kafka),
            "amqp" => Some(Self::Rabbit),
            "nats" => Some(Self::Nats),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Rabbit => "rabbit",
            Self::Nats => "nats",
        }
    }

    /// Connects our adapter, the names of its topics beginning with this.
    pub(crate) async fn connect(self, url: &str, prefix: &str) -> Adapter {
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}prefix={prefix}");
        match self {
            Self::Kafka => Adapter::of(KafkaBus::connect(&url).await.expect("Kafka can be reached")),
            Self::Rabbit => Adapter::of(RabbitBus::connect(&url).await.expect("RabbitMQ can be reached")),
            Self::Nats => Adapter::of(NatsBus::connect(&url).await.expect("NATS can be reached")),
        }
    }

    /// Deletes what an adapter has written down under a prefix that nobody will use again.
    pub(crate) async fn forget(self, url: &str, prefix: &str) {
        if self == Self::Rabbit {
            Rabbit::open(url).await.delete_queue(&format!("{prefix}saga.topics")).await;
        }
    }
}

impl Adapter {
    fn of<B: EventBus + BusAdmin + 'static>(bus: B) -> Self {
        let bus = Arc::new(bus);
        let admin: Arc<dyn BusAdmin> = Arc::clone(&bus) as _;
        Self { bus, admin }
    }

    /// Deletes these topics and closes the connection.
    pub(crate) async fn end(self, topics: &[&str]) {
        for topic in topics {
            let topic = Topic::new(*topic).expect("a topic's name");
            self.admin.delete_topic(&topic).await.expect("it is there");
        }
        // Late is late enough: nothing is measured any more.
        let _late = self.bus.close(Duration::from_secs(5)).await;
    }
}

/// The CPU time of the server behind a URL, if it is one process on this machine.
pub(crate) struct ServerCpu(Option<u32>);

impl ServerCpu {
    pub(crate) fn of(url: &str) -> Self {
        let place = url.split_once("://").map_or(url, |(_, rest)| rest);
        let place = place.split(['?', '/']).next().unwrap_or_default();
        let (_, host) = place.rsplit_once('@').unwrap_or(("", place));
        let port = match host.rsplit_once(':') {
            Some(("127.0.0.1" | "localhost", port)) => port.parse().ok(),
            _ => None,
        };
        Self(port.and_then(listener))
    }

    pub(crate) fn now(&self) -> Option<Duration> {
        cpu_time_of_process(self.0?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_broker() {
        assert_eq!(Broker::of("amqp://guest:guest@127.0.0.1:1"), Some(Broker::Rabbit));
        assert_eq!(Broker::of("nats://a"), Some(Broker::Nats));
        assert_eq!(Broker::of("sqlite:x"), None);
    }

    #[test]
    fn who_listens_on_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let server = ServerCpu::of(&format!("amqp://a:b@127.0.0.1:{port}/vhost?x=1"));
        assert_eq!(server.0, Some(std::process::id()));
        assert!(server.now().is_some());
        assert!(ServerCpu::of("nats://elsewhere:4222").now().is_none());
    }
}
