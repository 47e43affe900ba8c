use std::path::PathBuf;
use std::time::Duration;

use saga_core::adapter::{BusUrl, ClientSettings, Secret};
use saga_core::{Error, ErrorKind};
use serde::Deserialize;

const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

/// How to reach RabbitMQ and how topics are set up. Every field can stand in the URL's query:
/// `amqp://localhost:5672/vhost?prefix=dev.&replication=3`; what begins with `client.` is told to the server as a property of this client.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitConfig {
    /// The nodes, as `host:port`; one that does not answer is followed by the next. In a URL they are its hosts. Default: `localhost:5672`.
    #[serde(skip_deserializing)]
    pub servers: Vec<String>,
    /// Further properties that the server shows of this client. Default: none.
    #[serde(skip_deserializing)]
    pub client: ClientSettings,
    /// The virtual host; in a URL it is the path. Default: `/`.
    pub vhost: String,
    /// The user's name; in a URL it stands before the host, with the password. Default: `guest`, which servers let in from their own machine.
    pub user: Option<String>,
    /// The user's password. Default: `guest` for the user `guest`, else empty.
    pub password: Option<Secret>,
    /// How the user is authenticated: `PLAIN`, or `EXTERNAL` by the client's certificate, which must be there then. Default: `PLAIN`.
    pub auth_mechanism: String,
    /// Whether the connection is encrypted; `amqps://` as the scheme says the same. Needs the feature `tls`. Default: no.
    pub tls: bool,
    /// The certificates, in PEM, of the authorities to be trusted instead of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate, in PEM. Default: none.
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate, in PEM. Default: none.
    pub client_key_file: Option<PathBuf>,
    /// What this client is called on the server. Default: `saga`.
    pub client_name: String,
    /// Stands before the names of all queues and exchanges, for example `dev.`. Default: nothing.
    pub prefix: String,
    /// How many nodes keep a copy of a queue that is created; 0 is the server's own default. Default: 0.
    pub replication: u16,
    /// How long dead letters are kept, in ms; 0 is for ever. Default: 2,592,000,000 (30 days).
    pub dead_letter_retention_ms: u64,
    /// How many bytes a queue that is created may hold. Publishing to a full one waits for room, for `request_timeout_ms`, and then says so.
    /// 0 is no limit. Default: 0.
    pub queue_bytes_max: u64,
    /// How long connecting may take before it fails, in ms. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// How long the server may take to answer before an answer counts as lost, in ms. Default: 10,000.
    pub request_timeout_ms: u64,
    /// How often a silent connection is tested, in ms, in whole seconds; after twice that time without a sign it counts as cut. Default: 10,000.
    pub heartbeat_ms: u64,
    /// The largest message, in bytes. The server's `max_message_size` must be as large; what is larger there breaks the channel. Default:
    /// 16,777,216, as RabbitMQ 4 has it.
    pub message_bytes_max: usize,
    /// How many messages may be on their way to the server at once; publishing waits for room. Default: 1,024.
    pub publish_in_flight_max: usize,
    /// How many bytes may be on their way to the server at once; publishing waits for room. Default: 33,554,432 (32 MiB).
    pub publish_bytes_max: usize,
}

/// What names begin with must leave room for the names: the protocol has 255 bytes for both.
const PREFIX_BYTES_MAX: usize = 200;

impl Default for RabbitConfig {
    fn default() -> Self {
        Self {
            servers: vec![format!("localhost:{PORT}")],
            client: ClientSettings::default(),
            vhost: "/".to_owned(),
            user: None,
            password: None,
            auth_mechanism: "PLAIN".to_owned(),
            tls: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            client_name: "saga".to_owned(),
            prefix: String::new(),
            replication: 0,
            dead_letter_retention_ms: 30 * 24 * 3_600_000,
            queue_bytes_max: 0,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 10_000,
            heartbeat_ms: 10_000,
            message_bytes_max: 16 << 20,
            publish_in_flight_max: 1_024,
            publish_bytes_max: 32 << 20,
        }
    }
}

impl RabbitConfig {
    /// Reads a URL: `amqp://user:password@host:5672,host2:5672/vhost?setting=value`. A vhost with a slash is percent-encoded.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says which part is wrong; secrets are never shown.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let default_port = if url.starts_with("amqps:") { TLS_PORT } else { PORT };
        let url = BusUrl::parse(url, default_port)?;
        if !["amqp", "amqps"].contains(&&*url.scheme) {
            return Err(invalid("its URL begins with amqp:// or amqps://"));
        }
        let mut config: Self = url.settings()?;
        config.tls |= url.scheme == "amqps";
        config.servers = url.hosts;
        config.client = url.client;
        config.user = url.user.or(config.user);
        config.password = url.password.or(config.password);
        if !url.path.is_empty() {
            config.vhost = url.path;
        }
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
        if !["PLAIN", "EXTERNAL"].contains(&&*self.auth_mechanism) {
            return Err(invalid("auth_mechanism is none of PLAIN, EXTERNAL"));
        }
        // The server would break the connection off without a word.
        if self.auth_mechanism == "EXTERNAL" && !(self.tls && self.client_cert_file.is_some()) {
            return Err(invalid(
                "auth_mechanism EXTERNAL needs encryption and the certificate that names the user: amqps:// and client_cert_file",
            ));
        }
        if self.prefix.len() > PREFIX_BYTES_MAX {
            return Err(invalid("prefix is longer than 200 bytes"));
        }
        // What travels as a short string; the client would panic.
        let is_long = |text: &str| text.len() > usize::from(u8::MAX);
        if is_long(&self.vhost) || self.client.keys().any(|name| is_long(name)) {
            return Err(invalid("vhost or the name of a client's property is longer than 255 bytes"));
        }
        if self.tls && !cfg!(feature = "tls") {
            return Err(invalid("encryption needs the feature \"tls\", which is off"));
        }
        let limits = [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("heartbeat_ms", self.heartbeat_ms),
            ("message_bytes_max", self.message_bytes_max as u64),
            ("publish_in_flight_max", self.publish_in_flight_max as u64),
            ("publish_bytes_max", self.publish_bytes_max as u64),
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((name, _)) => Err(invalid(&format!("{name} must not be 0"))),
            None => Ok(()),
        }
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The servers, for messages.
    pub(crate) fn shown(&self) -> String {
        self.servers.join(", ")
    }
}

pub(crate) fn invalid(problem: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the configuration for RabbitMQ is wrong: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_sets_what_it_names_and_leaves_the_rest() {
        let url =
            "amqp://me:s3cret@a:1,b/dev%2fone?prefix=dev.&replication=3&heartbeat_ms=2000&client.team=x";
        let config = RabbitConfig::from_url(url).unwrap();
        assert_eq!(config.servers, ["a:1", "b:5672"]);
        assert_eq!((config.user.as_deref(), &*config.vhost), (Some("me"), "dev/one"));
        assert_eq!((&*config.prefix, config.replication, config.heartbeat_ms), ("dev.", 3, 2_000));
        assert_eq!(config.client.get("team").map(String::as_str), Some("x"));
        assert_eq!((config.message_bytes_max, config.tls), (16 << 20, false));
        assert!(!format!("{config:?}").contains("s3cret"));
        assert_eq!(RabbitConfig::from_url("amqp://a").unwrap().vhost, "/");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_scheme_asks_for_encryption() {
        let url = "amqps://a?ca_file=/ca.pem&auth_mechanism=EXTERNAL&client_cert_file=/c.pem";
        let config = RabbitConfig::from_url(url).unwrap();
        assert_eq!((config.tls, &*config.servers[0]), (true, "a:5671"));
        assert_eq!(config.ca_file.as_deref(), Some("/ca.pem".as_ref()));
        let error = RabbitConfig::from_url("amqps://a?auth_mechanism=EXTERNAL").unwrap_err();
        assert!(error.to_string().contains("client_cert_file"), "{error}");
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn encryption_that_is_not_there_is_said() {
        let error = RabbitConfig::from_url("amqps://a").unwrap_err().to_string();
        assert!(error.contains("tls"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, expected) in [
            ("http://a", "amqp://"),
            ("amqp://a?prefix=a/b", "prefix"),
            ("amqp://a?heartbeat_ms=0", "heartbeat_ms"),
            ("amqp://a?auth_mechanism=MAGIC", "auth_mechanism"),
            ("amqp://a?auth_mechanism=EXTERNAL&client_cert_file=/c.pem", "amqps://"),
            ("amqp://a?nonsense=1", "nonsense"),
        ] {
            let error = RabbitConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{url}: {error}");
        }
        let error = RabbitConfig::from_url(&format!("amqp://a/{}", "v".repeat(256))).unwrap_err();
        assert!(error.to_string().contains("vhost"), "{error}");
        let error = RabbitConfig::from_url(&format!("amqp://a?prefix={}", "p".repeat(245))).unwrap_err();
        assert!(error.to_string().contains("prefix"), "{error}");
    }
}
