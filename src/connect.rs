use std::sync::Arc;

use saga_core::memory::MemoryBus;
use saga_core::ports::{BusAdmin, EventBus};
use saga_core::{Error, ErrorKind};

/// Opens the bus that a URL names. Swapping the transport is a feature flag and another URL; nothing else changes.
///
/// | URL | bus |
/// |---|---|
/// | `memory:` | a new in-memory bus, for this process alone |
/// | `nats://host:4222` | NATS JetStream, with the feature `nats` |
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
/// Passwords in the URL are never part of the error.
pub async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(refused("it has no scheme".to_owned()));
    };
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryBus::new())),
        "memory" => Err(refused("\"memory:\" takes nothing after the colon".to_owned())),
        #[cfg(feature = "nats")]
        "nats" => Ok(Arc::new(saga_nats::NatsBus::connect(url).await?)),
        other => Err(unknown(other)),
    }
}

/// Opens the bus that a URL names to run it: its topics, groups and dead letters. The URLs are those of [`connect`], but for `memory:`, whose
/// bus nobody outside its process can see.
///
/// # Errors
/// As for [`connect`].
pub async fn admin(url: &str) -> Result<Arc<dyn BusAdmin>, Error> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        None => Err(refused("it has no scheme".to_owned())),
        Some("memory") => Err(refused(
            "\"memory:\" is a bus inside one process; use the MemoryBus that the process has".to_owned(),
        )),
        #[cfg(feature = "nats")]
        Some("nats") => Ok(Arc::new(saga_nats::NatsBus::connect(url).await?)),
        Some(other) => Err(unknown(other)),
    }
}

fn unknown(scheme: &str) -> Error {
    refused(match feature_of(scheme) {
        Some(feature) => {
            format!("the scheme \"{scheme}\" is for the feature \"{feature}\", which is not on in this build")
        }
        None => format!("the scheme \"{}\" is not known", shown(scheme)),
    })
}

/// The feature whose adapter takes a scheme.
fn feature_of(scheme: &str) -> Option<&'static str> {
    match scheme {
        "kafka" => Some("kafka"),
        "amqp" | "amqps" => Some("rabbit"),
        "nats" => Some("nats"),
        _ => None,
    }
}

fn refused(problem: String) -> Error {
    let message = format!("cannot connect to the bus: {problem}; this build knows: memory:");
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
        for url in ["kafka://user:secret@localhost", "nonsense", "", "memory://x", "pass word:secret"] {
            let error = connect(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains("memory:"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let error = connect("amqp://user:secret@localhost").await.unwrap_err().to_string();
        assert!(error.contains("feature \"rabbit\""), "{error}");
        assert!(connect("memory:").await.is_ok());
    }
}
