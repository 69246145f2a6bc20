//! The certificate authority while it is open: its key in memory, and what it signs.

use super::profile::{self, Period, Permitted};
use super::{PkiError, facts};
use crate::model::{Host, SpiffeId};
use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use rcgen::{Certificate, CertificateParams, Issuer, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The kind of key of an authority and of all that it issues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256: what every TLS client takes.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519, which browsers do not take.
    Ed25519,
}

impl KeyAlgorithm {
    fn generate(self) -> Result<Zeroizing<KeyPair>, PkiError> {
        let pair = match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => generate_ed25519(),
        };
        Ok(Zeroizing::new(pair?))
    }
}

/// In version 1 of PKCS#8: OpenSSL 3.0, and with it curl, cannot read the version 2 that rcgen would write.
fn generate_ed25519() -> Result<KeyPair, rcgen::Error> {
    let pair = Ed25519KeyPair::generate().map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
    let document = pair.to_pkcs8v1().map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(document.as_ref()), &rcgen::PKCS_ED25519)
}

/// A certificate with its key, both as PEM, and its line of the index.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
    pub(super) entry: IndexEntry,
}

/// One line of `ca/index.jsonl`, which only grows: the last line of a serial number holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IndexEntry {
    serial: String,
    id: String,
    role: String,
    not_before: Timestamp,
    not_after: Timestamp,
    sans: Vec<String>,
    sha256: String,
    status: String,
    reason: Option<String>,
    time: Timestamp,
    by: String,
}

/// An authority that can sign.
pub(super) struct Authority {
    params: CertificateParams,
    key: Zeroizing<KeyPair>,
    algorithm: KeyAlgorithm,
    until: Timestamp,
}

impl Authority {
    /// A new authority, with its own certificate and key.
    ///
    /// # Errors
    /// When there is no randomness or rcgen refuses.
    pub(super) fn create(
        algorithm: KeyAlgorithm,
        period: Period,
        permitted: Option<&Permitted>,
        now: Timestamp,
    ) -> Result<(Self, Issued), PkiError> {
        let params = profile::authority(profile::random_serial()?, period, permitted);
        let key = algorithm.generate()?;
        let certificate = params.self_signed(&*key)?;
        let issued = issued(&certificate, &key, "ca", "ca", now);
        Ok((Self { params, key, algorithm, until: period.until }, issued))
    }

    /// Issues a certificate with a new key, valid no longer than the authority itself.
    ///
    /// # Errors
    /// When there is no randomness, or a name cannot stand in a certificate.
    pub(super) fn issue(
        &self,
        id: &SpiffeId,
        hosts: &[Host],
        period: Period,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let period = Period { from: period.from, until: period.until.min(self.until) };
        let params = profile::identity(profile::random_serial()?, period, id, hosts)?;
        let key = self.algorithm.generate()?;
        let certificate = params.signed_by(&*key, &self.issuer())?;
        let name = id.role.to_string();
        let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name);
        Ok(issued(&certificate, &key, name, id.role.word(), now))
    }

    /// Signs a revocation list with nothing on it, as PEM.
    ///
    /// # Errors
    /// When rcgen refuses.
    pub(super) fn empty_list(&self, number: u64, period: Period) -> Result<String, PkiError> {
        let period = Period { from: period.from, until: period.until.min(self.until) };
        Ok(profile::empty_list(number, period).signed_by(&self.issuer())?.pem()?)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn issued(certificate: &Certificate, key: &KeyPair, id: &str, role: &str, now: Timestamp) -> Issued {
    let said = facts::CertificateFacts::of(certificate.der()).expect("rcgen writes certificates that can be read");
    let entry = IndexEntry {
        serial: said.serial,
        id: id.to_owned(),
        role: role.to_owned(),
        not_before: said.not_before,
        not_after: said.not_after,
        sans: said.names,
        sha256: said.sha256,
        status: "valid".to_owned(),
        reason: None,
        time: now,
        by: format!("uid {}", rustix::process::getuid().as_raw()),
    };
    Issued { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()), entry }
}
