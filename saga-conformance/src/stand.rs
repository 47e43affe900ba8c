use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use saga_core::Error;
use saga_core::record::{RunId, Topic};

use crate::check::{Check, Stop};
use crate::client::Client;
use crate::proxy::Proxy;
use crate::server::Server;
use crate::suite::{BrokenDeadLetters, RawThroughput};

pub(crate) type Connect = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Client, Error>> + Send + Sync>;

/// What a case stands on: the bus, and what can be done to it. Made by a [`Suite`](crate::Suite).
pub struct Stand {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) lease: Duration,
    pub(crate) proxy: Option<String>,
    pub(crate) server: Option<Server>,
    pub(crate) raw: Option<RawThroughput>,
    pub(crate) break_dead_letters: Option<BrokenDeadLetters>,
    connect: Connect,
    /// Names of different runs never meet.
    run: String,
    count: AtomicU32,
    /// Topics of this case, to be deleted when it is over.
    topics: Mutex<Vec<Topic>>,
    notes: Mutex<Vec<String>>,
}

impl Stand {
    pub(crate) fn new(name: &str, connect: Connect) -> Self {
        Self {
            name: name.to_owned(),
            url: String::new(),
            lease: Duration::from_secs(30),
            proxy: None,
            server: None,
            raw: None,
            break_dead_letters: None,
            connect,
            run: RunId::random().to_string()[..8].to_owned(),
            count: AtomicU32::new(0),
            topics: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// The same stand, for one case.
    pub(crate) fn for_case(&self, number: u32) -> Self {
        Self {
            name: self.name.clone(),
            url: self.url.clone(),
            lease: self.lease,
            proxy: self.proxy.clone(),
            server: self.server.clone(),
            raw: self.raw.clone(),
            break_dead_letters: self.break_dead_letters.clone(),
            connect: Arc::clone(&self.connect),
            run: format!("{}.{number}", self.run),
            count: AtomicU32::new(0),
            topics: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Check<Client> {
        Ok((self.connect)(self.url.clone()).await?)
    }

    pub(crate) async fn connect_to(&self, url: String) -> Result<Client, Error> {
        (self.connect)(url).await
    }

    /// A name that no other case or run has.
    pub(crate) fn topic(&self) -> Topic {
        let nth = self.count.fetch_add(1, Ordering::Relaxed);
        let topic = Topic::new(format!("conformance.{}.{nth}", self.run)).expect("it is a name");
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).push(topic.clone());
        topic
    }

    /// Something to be shown with the case.
    pub(crate) fn note(&self, note: impl fmt::Display) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.to_string());
    }

    pub(crate) fn notes(&self) -> String {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).join("; ")
    }

    /// Deletes what the case has made.
    pub(crate) async fn clean_up(&self) {
        let topics = std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner));
        if topics.is_empty() {
            return;
        }
        let Ok(client) = self.connect().await else { return };
        for topic in topics {
            // Some cases delete theirs, and some never create it.
            let _gone_anyhow = client.admin.delete_topic(&topic).await;
        }
        let _closed = client.bus.close(Duration::from_secs(5)).await;
    }

    /// The broker's process.
    pub(crate) fn server(&self) -> Check<&Server> {
        match &self.server {
            Some(server) => Ok(server),
            None if self.url.is_empty() => {
                Err(Stop::does_not_apply("the bus lives in one process: there is no server"))
            }
            None => Err(Stop::failed(
                "SAGA_SERVERS does not say how to kill and start the server; `cargo xtask conformance` does",
            )),
        }
    }

    /// A proxy before the broker, and the URL through it.
    pub(crate) async fn proxied(&self) -> Check<(Proxy, String)> {
        if self.url.is_empty() {
            return Err(Stop::does_not_apply("the bus lives in one process: there is no connection"));
        }
        Ok(Proxy::before(&self.url, self.proxy.as_deref()).await?)
    }
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("name", &self.name).finish_non_exhaustive()
    }
}
