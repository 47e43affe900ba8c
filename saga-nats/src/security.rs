//! Encryption: whom to trust and what to show.
//!
//! The client could read the files itself, but takes the process's own choice of cryptography, which panics where there is none, as beside
//! an adapter that uses another; and tells a missing file from an absent server only in its text.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use saga_core::{Error, ErrorKind};

use crate::config::NatsConfig;

/// How to encrypt. Reads files, so it may block.
pub(crate) fn tls(config: &NatsConfig) -> Result<ClientConfig, Error> {
    let mut trusted = RootCertStore::empty();
    match &config.ca_file {
        Some(file) => {
            for certificate in certificates("ca_file", file)? {
                trusted.add(certificate).map_err(|error| unfit("ca_file", file).with_source(error))?;
            }
        }
        // Where the system has none, that matters only to a server that is encrypted, and its refusal then says so.
        None => drop(trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
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
        _ => Err(Error::new(ErrorKind::Invalid, "client_cert_file and client_key_file go together")),
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
    let message = format!("the configuration for NATS is wrong: {setting} {} cannot be used", file.display());
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_holds_nothing_is_named() {
        let nothing = std::env::temp_dir().join(format!("saga-nats-{}.pem", std::process::id()));
        std::fs::write(&nothing, "nothing").unwrap();
        let missing = nothing.with_extension("missing");
        for file in [&nothing, &missing] {
            let config = NatsConfig { ca_file: Some(file.clone()), ..NatsConfig::default() };
            let error = tls(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&*file.display().to_string()), "{error}");
        }
        std::fs::remove_file(nothing).unwrap();
        let config = NatsConfig { client_key_file: Some(missing), ..NatsConfig::default() };
        assert!(tls(&config).unwrap_err().to_string().contains("go together"));
    }
}
