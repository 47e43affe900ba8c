//! A TCP proxy between client and broker, that can cut the connection or swallow what is sent.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything on.
    Clear,
    /// Cuts what is connected, and takes no new connections.
    Cut,
    /// Keeps the connections and swallows what is sent on them, as a broken path does.
    HalfOpen,
}

/// A proxy. Dropping it cuts all its connections.
#[derive(Debug)]
pub struct Proxy {
    weather: watch::Sender<Weather>,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Proxy {
    async fn start(listen: &str, target: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Clear);
        let listening = tokio::spawn(listen_on(listener, target.to_owned(), seen));
        Ok(Self { weather, address, listening })
    }

    /// A proxy before the server of a URL, and the URL through it. A server that tells its clients an address of its own needs the proxy there:
    /// `given` is then `LISTEN=>TARGET`. Otherwise it listens anywhere and passes on to the URL's first host.
    ///
    /// # Errors
    /// When `given` is not of that form, or the proxy cannot listen there.
    pub async fn before(url: &str, given: Option<&str>) -> Result<(Self, String), String> {
        let host = host(url);
        let (listen, target) = match given {
            Some(given) => given
                .split_once("=>")
                .ok_or_else(|| format!("the proxy's place {given:?} is not LISTEN=>TARGET"))?,
            None => ("127.0.0.1:0", host),
        };
        let proxy = Self::start(listen, target)
            .await
            .map_err(|error| format!("the proxy cannot listen on {listen}: {error}"))?;
        let through = url.replacen(host, &proxy.address.to_string(), 1);
        Ok((proxy, through))
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, also for connections that are there.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.weather.send_replace(Weather::Cut);
    }
}

/// The first `host:port` of a URL.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    hosts.split(',').next().unwrap_or_default()
}

async fn listen_on(listener: TcpListener, target: String, weather: watch::Receiver<Weather>) {
    while let Ok((client, _)) = listener.accept().await {
        // Taken and dropped at once is refused, as far as a client can tell.
        if *weather.borrow() == Weather::Cut {
            continue;
        }
        let (target, weather) = (target.clone(), weather.clone());
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(target).await {
                pass(client, server, weather).await;
            }
        });
    }
}

async fn pass(client: TcpStream, server: TcpStream, weather: watch::Receiver<Weather>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = weather.clone();
    tokio::select! {
        () = copy(from_client, to_server, weather.clone()) => {}
        () = copy(from_server, to_client, weather) => {}
        _ = cut.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if *weather.borrow() == Weather::HalfOpen {
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found() {
        for url in ["nats://h:1", "amqp://u:p@h:1/v", "kafka://h:1,i:2?x=y"] {
            assert_eq!(host(url), "h:1", "{url}");
        }
    }
}
