//! A small HTTP server of this example's own, that receives the completion calls when no `--callback` is given.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::show::{Screen, Tone};

/// Where the calls go. It listens as long as the program runs.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    received: Arc<AtomicU64>,
}

impl Endpoint {
    /// Listens on this address; port 0 stands for any free one.
    pub(crate) async fn listen(address: &str, screen: Screen) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let received = Arc::<AtomicU64>::default();
        tokio::spawn(serve(listener, Arc::clone(&received), screen));
        Ok(Self { url, received })
    }

    /// How many calls it has received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, received: Arc<AtomicU64>, screen: Screen) {
    while let Ok((stream, _)) = listener.accept().await {
        let (received, screen) = (Arc::clone(&received), screen.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &received, &screen));
            // A caller that goes away in the middle of a call makes it again.
            let _gone = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// Answers 200, which the saga records: it will not call again for this order.
async fn answer(
    request: Request<Incoming>,
    received: &AtomicU64,
    screen: &Screen,
) -> Result<Response<String>, Infallible> {
    let method = request.method().clone();
    let mut response = Response::new(String::new());
    match request.into_body().collect().await {
        Ok(body) => {
            received.fetch_add(1, Ordering::Relaxed);
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            screen.happened("HTTP endpoint", Tone::Good, format_args!("received {method} {body:?}"));
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}
