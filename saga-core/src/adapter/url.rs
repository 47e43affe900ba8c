use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::{ClientSettings, Secret};
use crate::error::{Error, ErrorKind};

/// A broker's URL, taken apart: `scheme://user:password@host:port,host:port/path?setting=value&client.name=value`.
///
/// User, password, path and settings may be percent-encoded. Nothing of the URL but its scheme and hosts is ever part of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusUrl {
    /// What stands before `://`.
    pub scheme: String,
    /// The user's name, if there is one.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<Secret>,
    /// The brokers, as `host:port`, at least one.
    pub hosts: Vec<String>,
    /// What stands behind the hosts, without the slash; empty when there is nothing.
    pub path: String,
    /// The settings that begin with `client.`, without that: passed on to the client library as they are.
    pub client: ClientSettings,
    /// One of them may be a password.
    settings: Secret,
}

impl BusUrl {
    /// Takes a URL apart. A host without a port gets this one.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) says what is wrong, without showing what could be a secret.
    pub fn parse(url: &str, default_port: u16) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            invalid("a broker's URL", "has no scheme; write for example nats://localhost:4222")
        })?;
        let what = format!("the {scheme} URL");
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(String::from).map_err(|_| invalid(&what, "has percent-encoded bytes that are no UTF-8"))
        };
        let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
            None => (None, None),
            Some((user, "")) => (Some(decoded(user)?), None),
            Some((user, password)) => (Some(decoded(user)?), Some(Secret::new(decoded(password)?))),
        };
        let hosts =
            hosts.split(',').map(|host| with_port(&what, host, default_port)).collect::<Result<_, _>>()?;
        let mut client = ClientSettings::default();
        let mut settings = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.strip_prefix("client.") {
                None => settings.push(pair),
                Some(setting) => {
                    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
                    client.insert(decoded(name)?, decoded(&value.replace('+', " "))?);
                }
            }
        }
        let settings = Secret::new(settings.join("&"));
        Ok(Self { scheme: scheme.to_owned(), user, password, hosts, path: decoded(path)?, client, settings })
    }

    /// The settings of the query as an adapter's configuration, the `client.` ones left out.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) names the setting that is not known or what its value should be.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_urlencoded::from_str(self.settings.expose()).map_err(|error| {
            let message = format!("the settings of the {} URL are wrong: {error}", self.scheme);
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

fn with_port(what: &str, host: &str, default_port: u16) -> Result<String, Error> {
    // The port of an IPv6 address stands behind its bracket.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    if !is_name(name) {
        return Err(invalid(what, "has no host, or one that is no name or address"));
    }
    match port.map(str::parse::<u16>) {
        None => Ok(format!("{name}:{default_port}")),
        Some(Ok(port)) => Ok(format!("{name}:{port}")),
        Some(Err(_)) => Err(invalid(
            what,
            "has a port that is no number up to 65535; a password with @ : / in it must be percent-encoded",
        )),
    }
}

fn invalid(what: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} {problem}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        partitions: Option<u32>,
        prefix: String,
    }

    #[test]
    fn every_part_is_found() {
        let url = BusUrl::parse(
            "kafka://us%40er:p%3Aw@a:1,b,[::1]:2/dev?partitions=6&client.linger.ms=0&prefix=dev.&client.x=a%20b",
            9092,
        )
        .unwrap();
        assert_eq!(url.scheme, "kafka");
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p:w"));
        assert_eq!(url.hosts, ["a:1", "b:9092", "[::1]:2"]);
        assert_eq!(url.path, "dev");
        assert_eq!(
            url.client.iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>(),
            [("linger.ms", "0"), ("x", "a b")]
        );
        assert_eq!(
            url.settings::<Settings>().unwrap(),
            Settings { partitions: Some(6), prefix: "dev.".into() }
        );
        let shown = format!("{url:?}");
        // Settings may be secrets, too.
        assert!(["p:w", "partitions=6", "a b"].iter().all(|part| !shown.contains(part)), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_shown() {
        for (url, expected) in [
            ("secret", "no scheme"),
            ("nats://", "no host"),
            ("nats://u:sec/ret@host", "port"),
            ("nats://host:secret", "port"),
            ("nats://ho st", "no host"),
            ("nats://u:%ffsecret@host", "UTF-8"),
        ] {
            let error = BusUrl::parse(url, 4222).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("sec"), "{url}: {text}");
        }
        for (query, expected) in [("partitons=3", "partitons"), ("partitions=x", "invalid digit")] {
            let url = BusUrl::parse(&format!("kafka://host?{query}"), 9092).unwrap();
            let error = url.settings::<Settings>().unwrap_err().to_string();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }
}
