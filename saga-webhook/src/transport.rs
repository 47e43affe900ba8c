use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use saga_core::Error;

use crate::target::Target;

const IDLE_CONNECTIONS_MAX: usize = 32;
const IDLE_TIME_S_MAX: u64 = 30;
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// A pool of HTTP/1.1 connections that follows no redirects.
pub(crate) enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    #[cfg(feature = "tls")]
    Tls(Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Transport {
    pub(crate) fn for_target(target: &Target) -> Result<Self, Error> {
        if target.is_https() { Self::https(target) } else { Ok(Self::Plain(client(connector()))) }
    }

    #[cfg(not(feature = "tls"))]
    fn https(target: &Target) -> Result<Self, Error> {
        let message = format!(
            "the webhook {target} needs TLS: switch on the feature `webhook-tls` of saga-rs (`tls` of saga-webhook)"
        );
        Err(Error::new(saga_core::ErrorKind::Invalid, message))
    }

    #[cfg(feature = "tls")]
    fn https(target: &Target) -> Result<Self, Error> {
        use hyper_rustls::ConfigBuilderExt;

        let roots = tls_versions().with_native_roots().map_err(|error| {
            let message = format!("the webhook {target} cannot use the root certificates of this system");
            Error::new(saga_core::ErrorKind::Permanent, message).with_source(error)
        })?;
        Ok(Self::tls(roots.with_no_client_auth()))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(config: rustls::ClientConfig) -> Self {
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config);
        Self::Tls(client(builder.https_only().enable_http1().wrap_connector(connector())))
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        match self {
            Self::Plain(client) => client.request(request).await,
            #[cfg(feature = "tls")]
            Self::Tls(client) => client.request(request).await,
        }
    }
}

/// Ring by name: the process-wide default of rustls is for the application to choose, and panics where two are compiled in.
#[cfg(feature = "tls")]
pub(crate) fn tls_versions() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // The scheme was checked with the URL; a TLS connector wraps this one.
    connector.enforce_http(false);
    connector
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(IDLE_TIME_S_MAX))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .http1_max_buf_size(ANSWER_HEAD_BYTES_MAX)
        .build(connector)
}
