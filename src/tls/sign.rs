//! Signatures with the key of a certificate, for what is proved outside a connection.

use super::provider::{ConfigError, provider, roots};
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use trust::{CertificateFacts, NodeFiles};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The kinds of signature that the keys of a cluster make.
const SCHEMES: [SignatureScheme; 3] =
    [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519];

/// A certificate whose key can sign.
pub struct Signer {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its serial number in lower-case hexadecimal.
    pub serial: String,
    key: Arc<dyn SigningKey>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key of certificate {}", self.serial)
    }
}

impl Signer {
    /// Signs with the key of the node's own certificate. Fails when the key cannot be used.
    pub fn new(files: &NodeFiles) -> Result<Self, ConfigError> {
        let key = aws_lc_rs::sign::any_supported_type(&files.key).map_err(ConfigError::Own)?;
        let certificate = files.chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        Ok(Self { certificate, serial: files.leaf.serial.clone(), key })
    }

    /// The signature over `message`, and its kind as TLS 1.3 numbers it. Fails when the key is of no kind that a
    /// cluster uses, or signing fails.
    pub fn sign(&self, message: &[u8]) -> Result<(u16, Vec<u8>), rustls::Error> {
        let wrong = || rustls::Error::General("the key is neither P-256 nor P-384 nor Ed25519".into());
        let signer = self.key.choose_scheme(&SCHEMES).ok_or_else(wrong)?;
        Ok((signer.scheme().into(), signer.sign(message)?))
    }
}

/// Whether `signature`, of the kind that TLS 1.3 numbers so, is over `message` by the key of `certificate`.
pub fn is_signature(certificate: &CertificateDer<'_>, scheme: u16, message: &[u8], signature: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let key = &parsed.public_key().subject_public_key.data;
    let scheme = SignatureScheme::from(scheme);
    let known = provider().signature_verification_algorithms;
    let algorithms = known.mapping.iter().find(|(name, _)| *name == scheme && SCHEMES.contains(name));
    let algorithms = algorithms.map_or(&[][..], |(_, algorithms)| *algorithms);
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

/// Whether one of `authorities` issued `certificate`, and it was valid at `at`. Revocation is not looked at: what was
/// signed before stays signed. Else why not.
pub fn check_issued(
    authorities: &[CertificateDer<'static>],
    certificate: &CertificateDer<'_>,
    at: Timestamp,
) -> Result<CertificateFacts, String> {
    let facts = CertificateFacts::of(certificate).ok_or("it is no certificate")?;
    let roots = roots(authorities).map_err(|error| error.to_string())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let since = u64::try_from(at.as_second()).map_err(|_| "the time is before 1970")?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(since));
    verifier.verify_client_cert(certificate, &[], at).map_err(|error| error.to_string())?;
    Ok(facts)
}
