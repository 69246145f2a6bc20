//! The ground of every configuration of rustls: its cryptography, its trust anchors, and what can be wrong with them.

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::VerifierBuilderError;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// The certificates do not make a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Without a list of revoked certificates rustls would look for no revocation at all.
    #[error(
        "there is no list of revoked certificates: crl.pem must hold one for each authority in ca.pem, even an empty one"
    )]
    NoCrl,
    /// A certificate of the authority that rustls cannot use.
    #[error("a certificate in ca.pem cannot be used: {0}")]
    Authority(rustls::Error),
    /// A list of revoked certificates that rustls cannot use.
    #[error("ca.pem or crl.pem cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The own certificate or key, or that they do not belong together.
    #[error("the own certificate and key cannot be used: {0}")]
    Own(rustls::Error),
    /// The provider lacks TLS 1.3, which it does not.
    #[error("TLS 1.3 cannot be set up: {0}")]
    Provider(rustls::Error),
}

/// The cryptography that every configuration here uses: aws-lc-rs, X25519MLKEM768 first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn roots(ca: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca {
        roots.add(certificate.clone()).map_err(ConfigError::Authority)?;
    }
    Ok(Arc::new(roots))
}
