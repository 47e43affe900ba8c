use std::path::PathBuf;
use std::time::Duration;

use saga_core::adapter::{BusUrl, Secret};
use saga_core::{Error, ErrorKind};
use serde::Deserialize;

const PORT: u16 = 4222;

/// How to reach NATS and how topics are set up. Every field can stand in the URL's query:
/// `nats://localhost:4222?prefix=dev.&replication=3`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// The servers, as `host:port`. In a URL they are its hosts. Default: `localhost:4222`.
    #[serde(skip_deserializing)]
    pub servers: Vec<String>,
    /// The user's name; in a URL it stands before the host, with the password. Default: none.
    pub user: Option<String>,
    /// The user's password. Default: none.
    pub password: Option<Secret>,
    /// A token instead of user and password. Default: none.
    pub token: Option<Secret>,
    /// The seed of an nkey (`SU…`) instead of user and password. Default: none.
    pub nkey_seed: Option<Secret>,
    /// A file with a JWT and its seed, as `nsc` writes it. Default: none.
    pub credentials_file: Option<PathBuf>,
    /// Whether the connection must be encrypted; `tls://` as the scheme says the same. Default: only if the server asks for it.
    pub tls: bool,
    /// The certificates, in PEM, of the authorities to be trusted instead of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate, in PEM. Default: none.
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate, in PEM. Default: none.
    pub client_key_file: Option<PathBuf>,
    /// What this client is called on the server. Default: `saga`.
    pub client_name: String,
    /// Stands before the names of all topics, for example `dev.`. Default: nothing.
    pub prefix: String,
    /// How many servers keep a copy of a topic that is created, 1 to 5. Default: 1.
    pub replication: usize,
    /// How long a topic of events that is created keeps its messages, in ms; 0 is for ever. Default: 604,800,000 (7 days).
    pub retention_ms: u64,
    /// How long dead letters are kept, in ms; 0 is for ever. Default: 2,592,000,000 (30 days).
    pub dead_letter_retention_ms: u64,
    /// How many bytes a topic that is created may hold. Publishing to a full one of commands waits for room, for `request_timeout_ms` and
    /// then says so; a full one of events loses its oldest. 0 is no limit. Default: 0.
    pub topic_bytes_max: u64,
    /// After how long without a word a delivery comes again, in ms. While it is held, the word is given. Default: 30,000.
    pub ack_wait_ms: u64,
    /// How long connecting may take before it fails, in ms. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// How long the server may take to answer before an answer counts as lost, in ms. Default: 5,000.
    pub request_timeout_ms: u64,
    /// How often a silent connection is tested, in ms; after two tests without an answer it counts as cut. Default: 5,000.
    pub ping_interval_ms: u64,
    /// How many messages may be on their way to the server at once; publishing waits for room. Default: 4,096.
    pub publish_in_flight_max: usize,
    /// How many bytes may be on their way to the server at once; publishing waits for room. Default: 33,554,432 (32 MiB).
    pub publish_bytes_max: usize,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec![format!("localhost:{PORT}")],
            user: None,
            password: None,
            token: None,
            nkey_seed: None,
            credentials_file: None,
            tls: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            client_name: "saga".to_owned(),
            prefix: String::new(),
            replication: 1,
            retention_ms: 7 * 24 * 3_600_000,
            dead_letter_retention_ms: 30 * 24 * 3_600_000,
            topic_bytes_max: 0,
            ack_wait_ms: 30_000,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 5_000,
            ping_interval_ms: 5_000,
            publish_in_flight_max: 4_096,
            publish_bytes_max: 32 << 20,
        }
    }
}

impl NatsConfig {
    /// Reads a URL: `nats://user:password@host:4222,host2:4222?setting=value`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says which part is wrong; secrets are never shown.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let url = BusUrl::parse(url, PORT)?;
        if !["nats", "tls"].contains(&&*url.scheme) {
            return Err(invalid("its URL begins with nats:// or tls://"));
        }
        if !url.path.is_empty() {
            return Err(invalid("its URL has no path"));
        }
        if let Some(name) = url.client.keys().next() {
            return Err(invalid(&format!(
                "its client takes no settings by name, so not client.{name}; hand a client of your own to NatsBus::with_client"
            )));
        }
        let mut config: Self = url.settings()?;
        config.tls |= url.scheme == "tls";
        config.servers = url.hosts;
        config.user = url.user.or(config.user);
        config.password = url.password.or(config.password);
        config.check()?;
        Ok(config)
    }

    /// Whether it could work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.servers.is_empty() {
            return Err(invalid("no server is named"));
        }
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !self.prefix.bytes().all(is_part) {
            return Err(invalid("prefix has a character other than A-Z a-z 0-9 . _ -"));
        }
        let limits = [
            ("replication", self.replication as u64),
            ("ack_wait_ms", self.ack_wait_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
            ("publish_in_flight_max", self.publish_in_flight_max as u64),
            ("publish_bytes_max", self.publish_bytes_max as u64),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((name, _)) => Err(invalid(&format!("{name} must not be 0"))),
            None => Ok(()),
        }
    }

    pub(crate) const fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }

    /// The servers, for messages.
    pub(crate) fn shown(&self) -> String {
        self.servers.join(", ")
    }
}

fn invalid(problem: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the configuration for NATS is wrong: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_sets_what_it_names_and_leaves_the_rest() {
        let config = NatsConfig::from_url(
            "tls://me:s3cret@a:1,b?prefix=dev.&replication=3&ack_wait_ms=500&ca_file=/ca.pem",
        )
        .unwrap();
        assert_eq!(config.servers, ["a:1", "b:4222"]);
        assert_eq!((config.user.as_deref(), config.tls), (Some("me"), true));
        assert_eq!((&*config.prefix, config.replication, config.ack_wait_ms), ("dev.", 3, 500));
        assert_eq!(config.ca_file.as_deref(), Some("/ca.pem".as_ref()));
        assert_eq!(config.publish_in_flight_max, 4_096);
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, expected) in [
            ("http://a", "nats://"),
            ("nats://a/path", "no path"),
            ("nats://a?client.x=1", "client.x"),
            ("nats://a?prefix=a/b", "prefix"),
            ("nats://a?ack_wait_ms=0", "ack_wait_ms"),
            ("nats://a?nonsense=1", "nonsense"),
        ] {
            let error = NatsConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{url}: {error}");
        }
    }
}
