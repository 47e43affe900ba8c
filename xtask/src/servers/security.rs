//! What servers demand of their clients in the tests of security: certificates of an authority of our own, and credentials, all in this
//! one place. The tests find them in variables. They are no secrets: the servers listen on loopback only.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The user that has a password.
pub(super) const USER: &str = "saga";
pub(super) const PASSWORD: &str = "saga-password";
/// The user that a client's certificate names.
pub(super) const CERTIFICATE_USER: &str = "saga-client";
pub(super) const TOKEN: &str = "saga-token";
/// The user's nkey in the documentation of NATS.
pub(super) const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const NKEY_SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// The authority that the servers and their clients trust.
pub(super) const AUTHORITY: &str = "ca.pem";
pub(super) const SERVER_CERTIFICATE: &str = "server.pem";
pub(super) const SERVER_KEY: &str = "server.key";
const CERTIFICATES: [&str; 6] =
    [AUTHORITY, "wrong-ca.pem", SERVER_CERTIFICATE, "client.pem", "stranger.pem", "wrong-client.pem"];

/// What the tests need to know, as variables.
pub(super) fn variables(certificates: &Path) -> [(String, String); 5] {
    let certificates = certificates.display().to_string();
    [
        ("SAGA_TEST_CERTS", &*certificates),
        ("SAGA_TEST_USER", USER),
        ("SAGA_TEST_PASSWORD", PASSWORD),
        ("SAGA_TEST_TOKEN", TOKEN),
        ("SAGA_TEST_NKEY_SEED", NKEY_SEED),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Makes the certificates, once: servers that run go on with theirs.
///
/// `ca.pem` vouches for `server.pem`, for `client.pem` and for `stranger.pem`, which names no user; `wrong-ca.pem` is an authority that no
/// server trusts, and vouches for `wrong-client.pem`. The key of each is in the `.key` of the same name.
pub(super) fn certify(folder: &Path) -> Result<(), String> {
    if CERTIFICATES.iter().all(|name| folder.join(name).exists()) {
        return Ok(());
    }
    // Whole or not at all, whenever this is broken off.
    let made = folder.with_extension(format!("{}", std::process::id()));
    make(&made).map_err(|why| format!("the certificates for the tests could not be made: {why}"))?;
    // An earlier version of this program may have made fewer.
    let _not_there = fs::remove_dir_all(folder);
    fs::rename(&made, folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (right, pem) = authority("saga test authority")?;
    write(AUTHORITY, pem)?;
    let (wrong, pem) = authority("another authority")?;
    write("wrong-ca.pem", pem)?;
    for (name, issuer, subject, usage) in [
        ("server", &right, "saga test server", ExtendedKeyUsagePurpose::ServerAuth),
        ("client", &right, CERTIFICATE_USER, ExtendedKeyUsagePurpose::ClientAuth),
        ("stranger", &right, "nobody", ExtendedKeyUsagePurpose::ClientAuth),
        ("wrong-client", &wrong, CERTIFICATE_USER, ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let (certificate, key) = signed(issuer, subject, usage)?;
        write(&format!("{name}.pem"), certificate)?;
        write(&format!("{name}.key"), key)?;
    }
    Ok(())
}

/// An authority, and its certificate in PEM.
fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), String> {
    let mut params = params(&[], name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(told)?;
    let pem = params.self_signed(&key).map_err(told)?.pem();
    Ok((Issuer::new(params, key), pem))
}

/// A certificate and its key, in PEM.
fn signed(
    issuer: &Issuer<'_, KeyPair>,
    subject: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<(String, String), String> {
    let mut params = params(&["127.0.0.1", "localhost"], subject)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().map_err(told)?;
    let certificate = params.signed_by(&key, issuer).map_err(told)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn params(names: &[&str], subject: &str) -> Result<CertificateParams, String> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(told)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn told(error: rcgen::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_once_and_whole() {
        let folder = std::env::temp_dir().join(format!("saga-certificates-{}", std::process::id()));
        certify(&folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        for name in CERTIFICATES {
            assert!(read(name).starts_with("-----BEGIN CERTIFICATE-----"), "{name}");
        }
        assert!(read("server.key").starts_with("-----BEGIN PRIVATE KEY-----"));
        let first = read("server.pem");
        certify(&folder).unwrap();
        assert_eq!(read("server.pem"), first);
        fs::remove_file(folder.join("client.pem")).unwrap();
        certify(&folder).unwrap();
        assert_ne!(read("server.pem"), first);
        fs::remove_dir_all(folder).unwrap();
    }
}
