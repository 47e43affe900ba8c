use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use saga_core::ports::{Callback, CallbackError, Ended};
use saga_core::{Error, ErrorKind};

use crate::answer;
use crate::target::Target;
use crate::transport::Transport;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A [`Callback`] that POSTs to a URL. See the [crate's page](crate) for what is sent and what the answers mean.
///
/// Clones share their connections. Its calls must run on a Tokio runtime with time and I/O enabled.
#[derive(Clone)]
pub struct Webhook {
    target: Target,
    headers: HeaderMap,
    body: Arc<dyn Fn(&Ended) -> Bytes + Send + Sync>,
    timeout: Duration,
    transport: Arc<Transport>,
}

impl Webhook {
    /// POSTs to `url`: `http://…`, or `https://…` with the feature `tls`. A user and password in it are sent as Basic authorization.
    ///
    /// The body is one line of text, the saga's name and id and how it ended, unless [`body`](Self::body) says otherwise.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is not such a URL, or `https` and the feature `tls` is off; it says which.
    /// [`Permanent`](ErrorKind::Permanent) when the operating system has no root certificates for `https`.
    pub fn post(url: &str) -> Result<Self, Error> {
        let target = Target::parse(url)?;
        let transport = Arc::new(Transport::for_target(&target)?);
        Ok(Self::over(target, transport))
    }

    fn over(target: Target, transport: Arc<Transport>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(authorization) = &target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let body = Arc::new(|ended: &Ended| Bytes::from(format!("{} {}", ended.key, ended.ending)));
        Self { target, headers, body, timeout: TIMEOUT_DEFAULT, transport }
    }

    /// Makes the body of each call. It must not block; it may be called again for a repeat, and should then say the same.
    #[must_use]
    pub fn body<B: Into<Bytes>>(self, body: impl Fn(&Ended) -> B + Send + Sync + 'static) -> Self {
        Self { body: Arc::new(move |ended| body(ended).into()), ..self }
    }

    /// Sends a header with each call, in the place of an earlier one of the same name.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when HTTP cannot carry the name or the value, or when the header is one that the webhook sets
    /// itself for each call.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let invalid = |problem: &str| {
            Error::new(
                ErrorKind::Invalid,
                format!("header {name:?} of the webhook {}: {problem}", self.target),
            )
        };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            // What was given for a name may be a whole header, with its secret.
            let problem = "has a header whose name HTTP cannot carry: letters, digits and - are safe";
            Error::new(ErrorKind::Invalid, format!("the webhook {} {problem}", self.target))
        })?;
        if [IDEMPOTENCY_KEY, TRACEPARENT, HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&parsed) {
            return Err(invalid("the webhook sets it itself for each call; leave it out"));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid("its value has a character other than visible ASCII and space"))?;
        value.set_sensitive(true);
        self.headers.insert(parsed, value);
        Ok(self)
    }

    /// How long a call may take until its answer's status is there, connecting included. 10 s if not set. A call that takes longer is
    /// repeated.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn request(&self, ended: &Ended) -> Result<Request<Full<Bytes>>, CallbackError> {
        let id = HeaderValue::from_str(ended.id.as_str()).map_err(|_| {
            CallbackError::Refused(format!("an HTTP header cannot carry the id {:?}", ended.id))
        })?;
        let mut request = Request::new(Full::new((self.body)(ended)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(IDEMPOTENCY_KEY, id);
        // A trace is a help, not a part of the call: one that cannot be written is left out.
        if let Some(trace) = ended.traceparent.as_deref().and_then(|t| HeaderValue::from_str(t).ok()) {
            request.headers_mut().insert(TRACEPARENT, trace);
        }
        Ok(request)
    }
}

#[async_trait]
impl Callback for Webhook {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let request = self.request(ended)?;
        let retry =
            |problem: String| CallbackError::Retry(format!("{} {problem} ({})", self.target, ended.key));
        let response = match tokio::time::timeout(self.timeout, self.transport.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(retry(format!("could not be called: {}", chain(&error)))),
            Err(_) => return Err(retry(format!("did not answer within {:?}", self.timeout))),
        };
        let (head, body) = response.into_parts();
        answer::discard(body).await;
        answer::judge(&head, &self.target, &ended.key)
    }
}

/// The error and its causes on one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Without the headers' values.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &format_args!("{}", self.target))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use saga_core::record::{Ending, MessageId, Payload, RunId, SagaId, SagaKey, Timestamp};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transport::tls_versions;

    /// A server for `localhost` that answers 200, and its certificate, which nobody has signed but itself.
    async fn tls_server() -> (String, rustls::pki_types::CertificateDer<'static>) {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = identity.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/done", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let read = stream.read(&mut [0; 4096]).await.unwrap();
                assert!(read > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        (url, certificate)
    }

    fn ended() -> Ended {
        let key = SagaKey { saga: "checkout".into(), id: SagaId::new("order-17").unwrap() };
        let at = Timestamp::from_millis(1);
        let id = MessageId::new("4bf9/callback");
        Ended::new(id, key, RunId::from_u128(7), Ending::Completed, Payload::from("{}"), at, at)
    }

    #[tokio::test]
    async fn https_reaches_a_server_whose_certificate_is_trusted() {
        let (url, certificate) = tls_server().await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = tls_versions().with_root_certificates(roots).with_no_client_auth();
        let webhook = Webhook::over(Target::parse(&url).unwrap(), Arc::new(Transport::tls(config)));
        webhook.call(&ended()).await.unwrap();
    }

    #[tokio::test]
    async fn https_does_not_speak_to_a_server_that_nobody_vouches_for() {
        let (url, _) = tls_server().await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(tls_server().await.1).unwrap();
        let config = tls_versions().with_root_certificates(roots).with_no_client_auth();
        let webhook = Webhook::over(Target::parse(&url).unwrap(), Arc::new(Transport::tls(config)));
        let Err(CallbackError::Retry(reason)) = webhook.call(&ended()).await else { panic!("it was called") };
        assert!(reason.contains("certificate"), "{reason}");
    }
}
