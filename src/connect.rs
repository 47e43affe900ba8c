use std::sync::Arc;

use saga_core::memory::MemoryBus;
use saga_core::ports::{BusAdmin, EventBus};
use saga_core::{Error, ErrorKind};

/// Opens the bus that a URL names. Swapping the transport is a feature flag and another URL; nothing else changes.
///
/// | URL | bus | feature |
/// |---|---|---|
/// | `memory:` | a new in-memory bus, for this process alone | |
/// | `kafka://host:9092` | Kafka | `kafka` |
/// | `amqp://host:5672` | RabbitMQ | `rabbit` |
/// | `nats://host:4222` | NATS JetStream | `nats` |
///
/// What else can stand in a URL (user and password, several hosts, `?prefix=dev.` and other settings) is in the configuration of
/// each adapter.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), saga::Error> {
/// let bus = saga::connect("memory:").await?;
/// let error = saga::connect("http://example.com").await.unwrap_err();
/// assert!(error.to_string().contains("memory:"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) when the URL has no scheme, or one that is not compiled in: the error names those that are.
/// Passwords in the URL are never part of the error. [`Retry`](ErrorKind::Retry) when the broker is away,
/// [`Permanent`](ErrorKind::Permanent) when it refuses.
pub async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    match adapter(url)? {
        Adapter::Memory => Ok(Arc::new(MemoryBus::new())),
        #[cfg(feature = "kafka")]
        Adapter::Kafka => Ok(Arc::new(saga_kafka::KafkaBus::connect(url).await?)),
        #[cfg(feature = "rabbit")]
        Adapter::Rabbit => Ok(Arc::new(saga_rabbit::RabbitBus::connect(url).await?)),
        #[cfg(feature = "nats")]
        Adapter::Nats => Ok(Arc::new(saga_nats::NatsBus::connect(url).await?)),
    }
}

/// Opens the bus that a URL names to run it: its topics, groups and dead letters. URLs are as for [`connect`].
///
/// # Errors
/// As for [`connect`]; and for `memory:`, since every in-memory bus is a bus of its own: use the
/// [`MemoryBus`] that you have, which is a [`BusAdmin`] itself.
pub async fn admin(url: &str) -> Result<Arc<dyn BusAdmin>, Error> {
    match adapter(url)? {
        Adapter::Memory => {
            let message = "memory: opens a bus of its own, where there is nothing to be run; use the MemoryBus that you have";
            Err(Error::new(ErrorKind::Invalid, message))
        }
        #[cfg(feature = "kafka")]
        Adapter::Kafka => Ok(Arc::new(saga_kafka::KafkaBus::connect(url).await?)),
        #[cfg(feature = "rabbit")]
        Adapter::Rabbit => Ok(Arc::new(saga_rabbit::RabbitBus::connect(url).await?)),
        #[cfg(feature = "nats")]
        Adapter::Nats => Ok(Arc::new(saga_nats::NatsBus::connect(url).await?)),
    }
}

/// The adapters of this build.
enum Adapter {
    Memory,
    #[cfg(feature = "kafka")]
    Kafka,
    #[cfg(feature = "rabbit")]
    Rabbit,
    #[cfg(feature = "nats")]
    Nats,
}

/// The schemes of this build, for messages.
const KNOWN: &[&str] = &[
    "memory:",
    #[cfg(feature = "kafka")]
    "kafka://, kafkas://",
    #[cfg(feature = "rabbit")]
    "amqp://, amqps://",
    #[cfg(feature = "nats")]
    "nats://, tls://",
];

fn adapter(url: &str) -> Result<Adapter, Error> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(refused("it has no scheme".to_owned()));
    };
    match scheme {
        "memory" if rest.is_empty() => Ok(Adapter::Memory),
        "memory" => Err(refused("\"memory:\" takes nothing after the colon".to_owned())),
        #[cfg(feature = "nats")]
        "nats" | "tls" => Ok(Adapter::Nats),
        #[cfg(not(feature = "nats"))]
        "nats" | "tls" => Err(refused(is_off(scheme, "nats"))),
        #[cfg(feature = "kafka")]
        "kafka" | "kafkas" => Ok(Adapter::Kafka),
        #[cfg(not(feature = "kafka"))]
        "kafka" | "kafkas" => Err(refused(is_off(scheme, "kafka"))),
        #[cfg(feature = "rabbit")]
        "amqp" | "amqps" => Ok(Adapter::Rabbit),
        #[cfg(not(feature = "rabbit"))]
        "amqp" | "amqps" => Err(refused(is_off(scheme, "rabbit"))),
        other => Err(refused(format!("the scheme \"{}\" is not known", shown(other)))),
    }
}

#[cfg(not(all(feature = "kafka", feature = "rabbit", feature = "nats")))]
fn is_off(scheme: &str, feature: &str) -> String {
    format!(
        "the scheme \"{scheme}\" is for the feature \"{feature}\", which is off; turn it on in Cargo.toml: \
         saga = {{ package = \"saga-rs\", features = [\"{feature}\"] }}"
    )
}

fn refused(problem: String) -> Error {
    let message = format!("cannot connect to the bus: {problem}; this build knows: {}", KNOWN.join(", "));
    Error::new(ErrorKind::Invalid, message)
}

/// Something without a scheme may be a mistyped secret: only what can be a scheme is shown.
fn shown(scheme: &str) -> &str {
    let is_scheme =
        scheme.len() <= 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if is_scheme { scheme } else { "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_names_what_would_be_right() {
        for url in ["http://user:secret@localhost", "nonsense", "", "memory://x", "pass word:secret"] {
            let error = connect(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains("memory:"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(connect("memory:").await.is_ok());
        assert!(admin("memory:").await.unwrap_err().to_string().contains("MemoryBus"));
    }

    #[cfg(not(any(feature = "kafka", feature = "rabbit", feature = "nats")))]
    #[tokio::test]
    async fn a_feature_that_is_off_is_named() {
        for (scheme, feature) in [("nats", "nats"), ("kafka", "kafka"), ("amqp", "rabbit")] {
            let error = connect(&format!("{scheme}://user:secret@localhost")).await.unwrap_err().to_string();
            let named = format!("features = [\"{feature}\"]");
            assert!(error.contains(&named) && !error.contains("secret"), "{error}");
        }
    }
}
