use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use percent_encoding::percent_decode_str;
use saga_core::{Error, ErrorKind};

/// Where a webhook goes: a checked URL, with the credentials taken out of it. Shown without its query.
#[derive(Clone)]
pub(crate) struct Target {
    /// `http` or `https`, with a host, without user and password.
    pub(crate) uri: Uri,
    /// The user and password of the URL, as a header.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|error| invalid("it cannot be read").with_source(error))?;
        let mut parts = uri.into_parts();
        let scheme = parts.scheme.as_ref().ok_or_else(|| invalid("it does not begin with a scheme"))?;
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(invalid(&format!("a webhook cannot speak {scheme}")));
        }
        let authority = parts.authority.as_ref().ok_or_else(|| invalid("it has no host"))?;
        let (userinfo, host) = split(authority);
        let authorization = userinfo.map(basic);
        let host = host.parse::<Authority>().ok().filter(|host| !host.host().is_empty());
        parts.authority = Some(host.ok_or_else(|| invalid("it has no host"))?);
        let uri = Uri::from_parts(parts).map_err(|error| invalid("it cannot be read").with_source(error))?;
        Ok(Self { uri, authorization })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

/// The URL itself is left out: what could not be parsed may hold a password anywhere.
fn invalid(problem: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("the webhook's URL must be http://host/… or https://host/…: {problem}"),
    )
}

/// The user and password, if any, and the host with its port.
fn split(authority: &Authority) -> (Option<&str>, &str) {
    authority.as_str().rsplit_once('@').map_or((None, authority.as_str()), |(user, host)| (Some(user), host))
}

/// Basic authorization (RFC 7617) of a URL's `user:password`, which is percent-encoded there.
fn basic(userinfo: &str) -> HeaderValue {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

/// A URI without what may be secret in it: user, password and query.
pub(crate) fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let host = uri.authority().map_or("", |authority| split(authority).1);
    format!("{scheme}{host}{}", uri.path())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_header_and_are_not_shown() {
        let target = Target::parse("http://ann:s%3Acret@shop.example:81/done?token=7f3a").unwrap();
        assert_eq!(target.to_string(), "http://shop.example:81/done");
        assert_eq!(target.uri, "http://shop.example:81/done?token=7f3a");
        let authorization = target.authorization.unwrap();
        assert_eq!(authorization, format!("Basic {}", BASE64_STANDARD.encode("ann:s:cret")));
        assert_eq!(format!("{authorization:?}"), "Sensitive");
    }

    #[test]
    fn what_is_no_web_address_is_refused_without_repeating_it() {
        let bad = ["", "/done", "s3cret", "ftp://ann:s3cret@shop.example/", "http://", "http://ann:s3cret@/"];
        for url in bad.into_iter().chain(["http://ann:s3cret@shop example/", "http://:80/s3cret"]) {
            let error = Target::parse(url).err().unwrap_or_else(|| panic!("{url:?} was taken"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url:?}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
