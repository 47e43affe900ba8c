//! Encryption: whom to trust and what to show.

use saga_core::Error;

use crate::config::RabbitConfig;

#[cfg(feature = "tls")]
pub(crate) use self::with_tls::is_of_trust;

/// How to encrypt, if at all.
#[cfg(feature = "tls")]
pub(crate) type Tls = Option<lapin::tcp::RustlsConnector>;
/// Without the feature there is nothing to choose; the configuration was checked.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(crate) struct Tls;

/// Reads the files that the configuration names, so it may block.
#[cfg(feature = "tls")]
pub(crate) fn tls(config: &RabbitConfig) -> Result<Tls, Error> {
    if !config.tls {
        return Ok(None);
    }
    with_tls::client(config).map(|client| Some(client.into()))
}

/// There is nothing to be read.
#[cfg(not(feature = "tls"))]
pub(crate) const fn tls(_: &RabbitConfig) -> Result<Tls, Error> {
    Ok(Tls)
}

#[cfg(not(feature = "tls"))]
pub(crate) const fn is_of_trust(_: &lapin::Error) -> bool {
    false
}

#[cfg(feature = "tls")]
mod with_tls {
    use std::error::Error as StdError;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::pki_types::pem::{self, PemObject};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore};
    use saga_core::Error;

    use crate::config::{RabbitConfig, invalid};

    pub(super) fn client(config: &RabbitConfig) -> Result<ClientConfig, Error> {
        let mut trusted = RootCertStore::empty();
        match &config.ca_file {
            Some(file) => {
                for certificate in certificates("ca_file", file)? {
                    trusted.add(certificate).map_err(|error| unfit("ca_file", file).with_source(error))?;
                }
            }
            // Where the system has none, the server is refused, which says why.
            None => {
                let _found_and_unfit =
                    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        // Named, because the process's own choice of cryptography may be another or none.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has both versions of TLS")
            .with_root_certificates(trusted);
        match (&config.client_cert_file, &config.client_key_file) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("client_cert_file", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unfit("client_key_file", key).with_source(error))?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| unfit("client_cert_file", certificate).with_source(error))
            }
            _ => Err(invalid("client_cert_file and client_key_file go together")),
        }
    }

    fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
        let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, pem::Error>>();
        let found = read().map_err(|error| unfit(setting, file).with_source(error))?;
        if found.is_empty() {
            return Err(unfit(setting, file).with_source("there is no certificate in it"));
        }
        Ok(found)
    }

    fn unfit(setting: &str, file: &Path) -> Error {
        invalid(&format!("{setting} {} cannot be used", file.display()))
    }

    /// Whether one side does not trust the other, rather than that the connection broke.
    pub(crate) fn is_of_trust(error: &lapin::Error) -> bool {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(found) = cause {
            if found.is::<rustls::Error>() {
                return true;
            }
            // What an error of input and output wraps is not among its sources.
            let wrapped = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = match wrapped {
                Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
                None => found.source(),
            };
        }
        false
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_file_that_is_missing_or_holds_nothing_is_named() {
            let nothing = std::env::temp_dir().join(format!("saga-rabbit-{}.pem", std::process::id()));
            std::fs::write(&nothing, "nothing").unwrap();
            let missing = nothing.with_extension("missing");
            for file in [&nothing, &missing] {
                let config = RabbitConfig { ca_file: Some(file.clone()), ..RabbitConfig::default() };
                let error = client(&config).unwrap_err();
                assert!(error.to_string().contains(&*file.display().to_string()), "{error}");
            }
            std::fs::remove_file(nothing).unwrap();
            let config = RabbitConfig { client_key_file: Some(missing), ..RabbitConfig::default() };
            assert!(client(&config).unwrap_err().to_string().contains("go together"));
        }

        #[test]
        fn a_refused_certificate_is_found_however_it_is_wrapped() {
            let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
            let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, refused));
            assert!(is_of_trust(&wrapped.into()));
            assert!(!is_of_trust(&io::Error::from(io::ErrorKind::ConnectionReset).into()));
        }
    }
}
