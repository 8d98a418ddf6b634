//! The dashboard's own certificate: made once, kept, and told by its fingerprint.
//!
//! Nobody signs for it, so a browser warns, and the person compares the fingerprint. That is worth
//! something only while it stays the same: so it names no address, which would change, and is valid
//! from years before this program was there, whatever a computer without a clock takes for today.

use std::{io, sync::Arc};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::keep::{Keep, Shelf};

/// The names that the certificate bears.
const NAMES: [&str; 2] = ["waymeet.local", "localhost"];
/// Years from and to which it is valid. Apple's devices refuse what is valid for more than 825 days
/// only where it begins after 2019-07-01.
const YEARS: (i32, i32) = (2019, 2049);

/// The certificate, ready for connections. No `Debug`: it has the key.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// SHA-256 of the certificate, as pairs of hexadecimal digits with colons.
    pub(crate) fingerprint: String,
}

impl Tls {
    /// The kept certificate, made where there is none.
    pub(crate) fn open(keep: &Keep) -> io::Result<Self> {
        let kept = (keep.read(Shelf::TlsKey)?, keep.read(Shelf::TlsCertificate)?);
        let (key, certificate) = match kept {
            (Some(key), Some(certificate)) => (key, certificate),
            _ => {
                let (key, certificate) = make().map_err(io::Error::other)?;
                keep.write(Shelf::TlsKey, &key)?;
                keep.write(Shelf::TlsCertificate, &certificate)?;
                (key, certificate)
            }
        };
        let fingerprint = fingerprint(&certificate);
        let acceptor = acceptor(key, certificate).map_err(|error| {
            let text = format!(
                "the dashboard's certificate can't be used ({error}): \
                 move the files dashboard-tls-… out of the node's folder, and it makes another"
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Self {
            acceptor,
            fingerprint,
        })
    }
}

/// A new key and its certificate, both DER.
fn make() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Waymeet dashboard");
    params.not_before = date_time_ymd(YEARS.0, 1, 1);
    params.not_after = date_time_ymd(YEARS.1, 12, 31);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok((key.serialize_der(), certificate.der().to_vec()))
}

fn acceptor(key: Vec<u8>, certificate: Vec<u8>) -> Result<TlsAcceptor, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate)], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn fingerprint(certificate: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_stays_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::new(dir.path());
        let first = Tls::open(&keep).unwrap().fingerprint;
        assert_eq!(first.len(), 32 * 3 - 1);
        assert_eq!(Tls::open(&keep).unwrap().fingerprint, first);
        keep.write(Shelf::TlsKey, b"no key").unwrap();
        let error = Tls::open(&keep).err().unwrap().to_string();
        assert!(error.contains("dashboard-tls"), "{error}");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(
            Tls::open(&Keep::new(other.path())).unwrap().fingerprint,
            first
        );
    }
}
