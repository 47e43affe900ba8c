//! A real HTTP server on this machine that gives every request the same answer and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    bytes_written: Arc<Mutex<usize>>,
}

impl Server {
    /// Answers with these bytes, for example `HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`, and then `rest` without end.
    pub(crate) async fn answering(answer: String, rest: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            bytes_written: Arc::default(),
        };
        let (requests, written) = (Arc::clone(&server.requests), Arc::clone(&server.bytes_written));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some(request) = read(&mut stream).await {
                    requests.lock().unwrap().push(request);
                    let mut chunk = answer.as_str();
                    while stream.write_all(chunk.as_bytes()).await.is_ok() {
                        *written.lock().unwrap() += chunk.len();
                        let Some(rest) = &rest else { break };
                        chunk = rest;
                    }
                }
            }
        });
        server
    }

    /// Answers with this status line, for example `410 Gone`, and a short body.
    pub(crate) async fn status(status: &str) -> Self {
        Self::answering(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok"), None).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was sent here so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn bytes_written(&self) -> usize {
        *self.bytes_written.lock().unwrap()
    }
}

/// One request with its body, or `None` when the client has gone.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
}
