//! The certificate authority with its private key in memory, which signs certificates and revocation lists.

use super::error::IssueError;
use super::index::IndexEntry;
use super::period::Period;
use super::profile::{self, Permitted};
use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use model::{Host, SpiffeId};
use rcgen::{Certificate, Issuer, KeyIdMethod, KeyPair, SubjectPublicKeyInfo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::path::Path;
use trust::CertificateFacts;
use trust::file::{FileError, malformed};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
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
    pub(super) fn generate(self) -> Result<Zeroizing<KeyPair>, IssueError> {
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

/// A certificate as PEM, its key if that was made here, and its line of the index.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: Option<Zeroizing<String>>,
    pub(super) entry: IndexEntry,
}

impl Issued {
    pub(super) fn said(&self) -> CertificateFacts {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok();
        der.as_ref().and_then(CertificateFacts::of).expect("this PEM was written a moment ago")
    }
}

/// An authority that can sign.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) facts: CertificateFacts,
    key: Zeroizing<KeyPair>,
    /// The kind of the keys that are made for others.
    pub(super) algorithm: KeyAlgorithm,
}

impl Authority {
    /// A new authority, with its own certificate and key. Fails when there is no randomness or rcgen refuses.
    pub(super) fn create(
        algorithm: KeyAlgorithm,
        period: Period,
        permitted: Option<&Permitted>,
        now: Timestamp,
    ) -> Result<(Self, Issued), IssueError> {
        let params = profile::authority(profile::random_serial()?, period, permitted);
        let key = algorithm.generate()?;
        let certificate = params.self_signed(&*key)?;
        let facts = facts_of(&certificate);
        let entry = IndexEntry::issued(&facts, "ca", "ca", &facts.serial, now);
        let pem = Some(Zeroizing::new(key.serialize_pem()));
        let issued = Issued { certificate: certificate.pem(), key: pem, entry };
        Ok((Self { certificate: certificate.der().clone(), facts, key, algorithm }, issued))
    }

    /// The authority of this certificate; none when the key is that of another. Fails when the certificate cannot be
    /// read.
    pub(super) fn with_key(certificate: &CertificateDer<'static>, key: KeyPair) -> Result<Option<Self>, IssueError> {
        let key = Zeroizing::new(key);
        let read = || rcgen::Error::CouldNotParseCertificate;
        let facts = CertificateFacts::of(certificate).ok_or_else(read)?;
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| read())?;
        if *parsed.public_key().subject_public_key.data != *key.public_key_raw() {
            return Ok(None);
        }
        let algorithm = match facts.key.as_str() {
            "P-384" => KeyAlgorithm::P384,
            "Ed25519" => KeyAlgorithm::Ed25519,
            // What an RSA authority issues is for keys that every client takes.
            _ => KeyAlgorithm::P256,
        };
        Ok(Some(Self { certificate: certificate.clone(), facts, key, algorithm }))
    }

    /// Compare a public key, as it stands in a certificate, with its own.
    pub(super) fn has_key(&self, public: &[u8]) -> bool {
        self.key.public_key_raw() == public
    }

    /// Issues a certificate, valid no longer than the authority itself, for a public key or, without one, a new key.
    /// Fails when there is no randomness, or a name cannot stand in a certificate.
    pub(super) fn issue(
        &self,
        id: &SpiffeId,
        hosts: &[Host],
        public: Option<&SubjectPublicKeyInfo>,
        period: Period,
        now: Timestamp,
    ) -> Result<Issued, IssueError> {
        let params = profile::identity(profile::random_serial()?, self.capped(period), id, hosts)?;
        let issuer = self.issuer()?;
        let (certificate, key) = match public {
            Some(public) => (params.signed_by(public, &issuer)?, None),
            None => {
                let key = self.algorithm.generate()?;
                (params.signed_by(&*key, &issuer)?, Some(Zeroizing::new(key.serialize_pem())))
            }
        };
        let name = id.role.name();
        let entry = IndexEntry::issued(&facts_of(&certificate), &name, id.role.word(), &self.facts.serial, now);
        Ok(Issued { certificate: certificate.pem(), key, entry })
    }

    /// Signs a revocation list with these certificates on it, as PEM. Fails when rcgen refuses.
    pub(super) fn list(&self, number: u64, period: Period, revoked: &[IndexEntry]) -> Result<String, IssueError> {
        let params = profile::list(number, self.capped(period), revoked, self.key_id());
        Ok(params.signed_by(&self.issuer()?)?.pem()?)
    }

    /// The key identifier by which it is referred to: that of its own certificate, or OpenSSL takes no list for its.
    fn key_id(&self) -> KeyIdMethod {
        let parsed = X509Certificate::from_der(&self.certificate).map(|(_, parsed)| parsed);
        let id = parsed.ok().and_then(|parsed| {
            parsed.iter_extensions().find_map(|extension| {
                if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
                    return Some(id.0.to_vec());
                }
                None
            })
        });
        id.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
    }

    fn capped(&self, period: Period) -> Period {
        Period { from: period.from, until: period.until.min(self.facts.not_after) }
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, IssueError> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &*self.key)?)
    }
}

fn facts_of(certificate: &Certificate) -> CertificateFacts {
    CertificateFacts::of(certificate.der()).expect("rcgen writes certificates that can be read")
}

/// Makes a key pair of what a key file holds. Fails when it is no private key, or one of a kind that cannot sign here.
pub(super) fn key_pair(path: &Path, pem: &[u8]) -> Result<KeyPair, FileError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map(Zeroizing::new);
    let key = key.map_err(|error| malformed(path, "a private key", &error.to_string()))?;
    KeyPair::try_from(&*key).map_err(|error| malformed(path, "a private key", &error.to_string()))
}
