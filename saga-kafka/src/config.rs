use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use saga_core::adapter::{BusUrl, ClientSettings, Secret};
use saga_core::{Error, ErrorKind};
use serde::Deserialize;

const PORT: u16 = 9092;

/// How to reach Kafka and how topics are set up. Every field can stand in the URL's query:
/// `kafka://localhost:9092?prefix=dev.&partitions=6`; what begins with `client.` goes to librdkafka as it is:
/// `client.linger.ms=0` (<https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// The brokers to begin with, as `host:port`. In a URL they are its hosts. Default: `localhost:9092`.
    #[serde(skip_deserializing)]
    pub servers: Vec<String>,
    /// Settings for librdkafka, which go before this library's own. Default: none.
    #[serde(skip_deserializing)]
    pub client: ClientSettings,
    /// The user's name for SASL; in a URL it stands before the host, with the password. Default: none.
    pub user: Option<String>,
    /// The user's password for SASL. Default: none.
    pub password: Option<Secret>,
    /// How the user is authenticated: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; the latter need the feature `tls`. Default: `PLAIN`.
    pub sasl_mechanism: String,
    /// Whether the connection is encrypted; `kafkas://` as the scheme says the same. Needs the feature `tls`. Default: no.
    pub tls: bool,
    /// The certificates, in PEM, of the authorities to be trusted instead of the system's. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate, in PEM. Default: none.
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate, in PEM. Default: none.
    pub client_key_file: Option<PathBuf>,
    /// What this client is called on the brokers. Default: `saga`.
    pub client_name: String,
    /// Stands before the names of all topics and groups, for example `dev.`. Default: nothing.
    pub prefix: String,
    /// How many partitions a topic that is created has. Default: 3.
    pub partitions: u32,
    /// How many brokers keep a copy of a topic that is created; 0 is the brokers' own default. Default: 0.
    pub replication: u16,
    /// How long a topic of events that is created keeps its messages, in ms; 0 is for ever. Default: 604,800,000 (7 days).
    pub retention_ms: u64,
    /// How long a topic of commands that is created keeps its messages, in ms; 0 is for ever. A command that waits longer is lost.
    /// Default: 0.
    pub command_retention_ms: u64,
    /// How long dead letters are kept, in ms; 0 is for ever. Default: 2,592,000,000 (30 days).
    pub dead_letter_retention_ms: u64,
    /// How many messages of one subscription may wait for their retry in this process; beyond that, later ones wait for them. Default: 10,000.
    pub retries_waiting_max: usize,
    /// How long connecting may take before it fails, in ms. Default: 10,000.
    pub connect_timeout_ms: u64,
    /// How long a broker may take to answer, in ms. Default: 10,000.
    pub request_timeout_ms: u64,
    /// How long a message may wait for its acknowledgement until nobody knows whether it is there, in ms. Default: 30,000.
    pub delivery_timeout_ms: u64,
    /// How long a consumer that gives no sign of life is taken for alive, in ms. Default: 10,000.
    pub session_timeout_ms: u64,
    /// How long deliveries may still be settled when their partition goes to another consumer, in ms. Default: 5,000.
    pub revoke_drain_ms: u64,
    /// How long the producer waits for more messages to go with one, in ms. Default: 1.
    pub linger_ms: u64,
    /// How the producer compresses: `none`, `gzip`, `snappy` or `lz4`. Default: `lz4`.
    pub compression: String,
    /// The largest message, in bytes. The brokers' `message.max.bytes` must be at least 40,000 more. Default: 1,000,000.
    pub message_bytes_max: usize,
    /// How many messages may be on their way to the brokers at once; publishing waits for room. Default: 20,000.
    pub publish_in_flight_max: usize,
    /// How many bytes may be on their way to the brokers at once; publishing waits for room. Default: 33,554,432 (32 MiB).
    pub publish_bytes_max: usize,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 3_600_000;
        Self {
            servers: vec![format!("localhost:{PORT}")],
            client: ClientSettings::default(),
            user: None,
            password: None,
            sasl_mechanism: "PLAIN".to_owned(),
            tls: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            client_name: "saga".to_owned(),
            prefix: String::new(),
            partitions: 3,
            replication: 0,
            retention_ms: 7 * DAY_MS,
            command_retention_ms: 0,
            dead_letter_retention_ms: 30 * DAY_MS,
            retries_waiting_max: 10_000,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 10_000,
            delivery_timeout_ms: 30_000,
            session_timeout_ms: 10_000,
            revoke_drain_ms: 5_000,
            linger_ms: 1,
            compression: "lz4".to_owned(),
            message_bytes_max: 1_000_000,
            publish_in_flight_max: 20_000,
            publish_bytes_max: 32 << 20,
        }
    }
}

impl KafkaConfig {
    /// Reads a URL: `kafka://user:password@host:9092,host2:9092?setting=value&client.name=value`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says which part is wrong; secrets are never shown.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let url = BusUrl::parse(url, PORT)?;
        if !["kafka", "kafkas"].contains(&&*url.scheme) {
            return Err(invalid("its URL begins with kafka:// or kafkas://"));
        }
        if !url.path.is_empty() {
            return Err(invalid("its URL has no path"));
        }
        let mut config: Self = url.settings()?;
        config.tls |= url.scheme == "kafkas";
        config.servers = url.hosts;
        config.client = url.client;
        config.user = url.user.or(config.user);
        config.password = url.password.or(config.password);
        config.check()?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.servers.is_empty() {
            return Err(invalid("no server is named"));
        }
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !self.prefix.bytes().all(is_part) {
            return Err(invalid("prefix has a character other than A-Z a-z 0-9 . _ -"));
        }
        if !["none", "gzip", "snappy", "lz4"].contains(&&*self.compression) {
            return Err(invalid("compression is none of none, gzip, snappy, lz4"));
        }
        let limits = [
            ("partitions", u64::from(self.partitions)),
            ("retries_waiting_max", self.retries_waiting_max as u64),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("delivery_timeout_ms", self.delivery_timeout_ms),
            ("session_timeout_ms", self.session_timeout_ms),
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

    /// What every client needs.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        // The log tells why a connection fails; a user who asks for more gets it.
        let is_debug = self.client.contains_key("debug");
        client.set_log_level(if is_debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        client
            .set("bootstrap.servers", self.servers.join(","))
            .set("client.id", &self.client_name)
            .set("socket.timeout.ms", self.request_timeout_ms.to_string())
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Until then a topic that nobody knows may be one that was just created.
            .set("topic.metadata.propagation.max.ms", "5000");
        let protocol = match (self.tls, self.user.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(user) = &self.user {
            let password = self.password.as_ref().map_or("", |password| password.expose());
            client
                .set("sasl.mechanism", &self.sasl_mechanism)
                .set("sasl.username", user)
                .set("sasl.password", password);
        }
        let files = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.client_cert_file),
            ("ssl.key.location", &self.client_key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                client.set(name, file.to_string_lossy());
            }
        }
        client
    }

    /// The user's own settings come last, and so win.
    pub(crate) fn with_users_own(
        &self,
        mut client: ClientConfig,
        belongs: impl Fn(&str) -> bool,
    ) -> ClientConfig {
        for (name, value) in self.client.iter().filter(|(name, _)| belongs(name)) {
            client.set(name, value);
        }
        client
    }
}

fn invalid(problem: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the configuration for Kafka is wrong: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_sets_what_it_names_and_leaves_the_rest() {
        let url = "kafkas://me:s3cret@a:1,b?prefix=dev.&partitions=6&sasl_mechanism=SCRAM-SHA-512&client.linger.ms=7&client.ssl.key.password=s3cret";
        let config = KafkaConfig::from_url(url).unwrap();
        assert_eq!(config.servers, ["a:1", "b:9092"]);
        assert_eq!((config.user.as_deref(), config.tls, config.partitions), (Some("me"), true, 6));
        assert_eq!((&*config.prefix, config.retention_ms), ("dev.", 604_800_000));
        assert_eq!(config.client.get("linger.ms").map(String::as_str), Some("7"));
        assert!(!format!("{config:?}").contains("s3cret"));
        let client = config.client();
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, expected) in [
            ("http://a", "kafka://"),
            ("kafka://a/path", "no path"),
            ("kafka://a?prefix=a/b", "prefix"),
            ("kafka://a?partitions=0", "partitions"),
            ("kafka://a?compression=zip", "compression"),
            ("kafka://a?nonsense=1", "nonsense"),
        ] {
            let error = KafkaConfig::from_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(expected), "{url}: {error}");
        }
    }
}
