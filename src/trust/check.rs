//! Checks that rustls does not make: of the authority itself, and that revocation lists are signed by it.
//!
//! A chain is never validated here but by rustls' own verifiers.

use super::facts::is_strong;
use super::svid::is_serial;
use super::{CaProblem, CertificateFacts, CrlFacts, CrlProblem, TrustError};
use jiff::Timestamp;
use model::Host;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// The most authorities in one `ca.pem`. Changing from one to the next takes two; a few more leave room for a slow change.
const MAX_AUTHORITIES: usize = 8;

/// Check every authority of a bundle. Fails when there is none, or one is expired, no authority, too weak, or shares
/// its name with another.
pub fn authorities(
    path: &Path,
    certificates: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Vec<CertificateFacts>, TrustError> {
    judge_authorities(certificates, now).map_err(|problem| TrustError::Ca { path: path.to_owned(), problem })
}

fn judge_authorities(certificates: &[CertificateDer<'_>], now: Timestamp) -> Result<Vec<CertificateFacts>, CaProblem> {
    if certificates.is_empty() {
        return Err(CaProblem::None);
    }
    if certificates.len() > MAX_AUTHORITIES {
        return Err(CaProblem::TooMany(certificates.len(), MAX_AUTHORITIES));
    }
    let mut all: Vec<CertificateFacts> = Vec::new();
    for certificate in certificates {
        let facts = judge_authority(certificate, now)?;
        if all.iter().any(|other| other.subject == facts.subject && other.sha256 != facts.sha256) {
            return Err(CaProblem::SameName(facts.subject));
        }
        all.push(facts);
    }
    Ok(all)
}

fn judge_authority(certificate: &CertificateDer<'_>, now: Timestamp) -> Result<CertificateFacts, CaProblem> {
    let facts = CertificateFacts::of(certificate).ok_or(CaProblem::Malformed)?;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CaProblem::Malformed)?;
    let name = facts.subject.clone();
    if !facts.is_ca {
        return Err(CaProblem::NotAnAuthority(name, "its basic constraints do not say CA:TRUE"));
    }
    if !["keyCertSign", "cRLSign"].iter().all(|usage| facts.key_usage.contains(usage)) {
        return Err(CaProblem::NotAnAuthority(name, "its key usage lacks keyCertSign or cRLSign"));
    }
    if let Some(flaw) = flaw(&parsed) {
        return Err(CaProblem::NotAnAuthority(name, flaw));
    }
    if now > facts.not_after {
        return Err(CaProblem::Expired(name, facts.not_after));
    }
    if now < facts.not_before {
        return Err(CaProblem::NotYetValid(name, facts.not_before, now));
    }
    if !is_strong(&facts.key) {
        return Err(CaProblem::WeakKey(name, facts.key));
    }
    if facts.issuer == facts.subject && parsed.verify_signature(None).is_err() {
        return Err(CaProblem::BadSignature(name));
    }
    Ok(facts)
}

/// The first thing in an authority that RFC 5280 forbids and other verifiers refuse.
fn flaw(authority: &X509Certificate<'_>) -> Option<&'static str> {
    if !is_serial(authority.raw_serial()) {
        return Some("its serial number is not a positive number of at most 20 bytes");
    }
    if authority.subject().iter().next().is_none() {
        return Some("it has no name");
    }
    if authority.extensions_map().is_err() {
        return Some("an extension is there twice");
    }
    for extension in authority.extensions() {
        #[expect(clippy::wildcard_enum_match_arm, reason = "what is not named here is not understood")]
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Some("an extension cannot be read"),
            ParsedExtension::BasicConstraints(_) if !extension.critical => {
                return Some("its basic constraints are not critical");
            }
            ParsedExtension::ExtendedKeyUsage(usage) if !(usage.any || usage.server_auth && usage.client_auth) => {
                return Some("its extended key usage leaves out servers or clients");
            }
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::SubjectAlternativeName(_) => {}
            _ if extension.critical => return Some("it has a critical extension that is not understood"),
            _ => {}
        }
    }
    None
}

/// Check that every list is signed by an authority, and that every authority has a list. Fails when one is malformed,
/// of another authority or with a wrong signature, or one is missing.
pub fn revocation_lists(
    path: &Path,
    lists: &[CertificateRevocationListDer<'_>],
    authorities: &[CertificateDer<'_>],
) -> Result<Vec<CrlFacts>, TrustError> {
    judge_lists(lists, authorities).map_err(|problem| TrustError::Crl { path: path.to_owned(), problem })
}

fn judge_lists(
    lists: &[CertificateRevocationListDer<'_>],
    authorities: &[CertificateDer<'_>],
) -> Result<Vec<CrlFacts>, CrlProblem> {
    let mut issuers: Vec<(X509Certificate<'_>, usize)> = Vec::new();
    for authority in authorities {
        // Authorities that cannot be read were refused before.
        let (_, parsed) = X509Certificate::from_der(authority).map_err(|_| CrlProblem::Malformed)?;
        issuers.push((parsed, 0));
    }
    let mut all = Vec::new();
    for list in lists {
        let facts = CrlFacts::of(list).ok_or(CrlProblem::Malformed)?;
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|_| CrlProblem::Malformed)?;
        let issuer = issuers.iter_mut().find(|(issuer, _)| issuer.subject().as_raw() == parsed.issuer().as_raw());
        let Some((issuer, count)) = issuer else { return Err(CrlProblem::UnknownIssuer(facts.issuer)) };
        if parsed.verify_signature(issuer.public_key()).is_err() {
            return Err(CrlProblem::BadSignature(facts.issuer));
        }
        *count += 1;
        all.push(facts);
    }
    match issuers.iter().find(|(_, count)| *count == 0) {
        Some((issuer, _)) => Err(CrlProblem::Absent(super::facts::printable(&issuer.subject().to_string()))),
        None => Ok(all),
    }
}

/// A judge of chains as the other members are: with rustls, under these authorities and lists.
pub struct Judge {
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: Arc<CryptoProvider>,
    now: UnixTime,
}

impl Judge {
    /// A judge who trusts these authorities at this time. Fails in rustls' words when an authority cannot be a trust
    /// anchor.
    pub fn new(
        authorities: &[CertificateDer<'static>],
        lists: &[CertificateRevocationListDer<'static>],
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone()).map_err(|error| error.to_string())?;
        }
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        Ok(Self {
            roots: Arc::new(roots),
            lists: lists.to_vec(),
            provider: Arc::new(aws_lc_rs::default_provider()),
            now: UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        })
    }

    /// Check that a server would accept this chain from a client. Fails in rustls' words when it would not.
    pub fn accepts_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
            .with_crls(self.lists.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let judged = verifier.verify_client_cert(leaf, intermediates, self.now);
        judged.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Check that a client that asked for any of `hosts` would accept this chain. Fails in rustls' words when it would
    /// not.
    pub fn accepts_server(&self, chain: &[CertificateDer<'_>], hosts: &[Host]) -> Result<(), String> {
        let (leaf, intermediates) = chain.split_first().ok_or("there is no certificate")?;
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), self.provider.clone())
            .with_crls(self.lists.clone())
            .build()
            .map_err(|error| error.to_string())?;
        hosts.iter().try_for_each(|host| {
            let name = ServerName::try_from(host.to_string()).map_err(|_| format!("{host} is not a TLS name"))?;
            let judged = verifier.verify_server_cert(leaf, intermediates, &name, &[], self.now);
            judged.map(|_| ()).map_err(|error| error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose as Extended,
        IsCa, KeyPair, KeyUsagePurpose as Usage,
    };

    fn judged(change: impl FnOnce(&mut CertificateParams)) -> Result<CertificateFacts, CaProblem> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        judge_authority(certificate.der(), Timestamp::now())
    }

    #[test]
    fn only_authorities_are_authorities() {
        assert!(judged(|_| ()).is_ok());
        assert!(matches!(judged(|params| params.is_ca = IsCa::NoCa), Err(CaProblem::NotAnAuthority(..))));
        for usages in [vec![], vec![Usage::KeyCertSign], vec![Usage::CrlSign]] {
            assert!(matches!(judged(|params| params.key_usages = usages), Err(CaProblem::NotAnAuthority(..))));
        }
    }

    #[test]
    fn what_rfc_5280_forbids_of_an_authority_is_seen() {
        let said = |change: fn(&mut CertificateParams)| match judged(change) {
            Err(CaProblem::NotAnAuthority(_, flaw)) => flaw,
            other => panic!("{other:?}"),
        };
        let harmless = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        assert!(judged(|params| params.custom_extensions = vec![harmless]).is_ok());
        assert!(said(|params| params.serial_number = Some(vec![0].into())).contains("serial number"));
        assert!(said(|params| params.distinguished_name = DistinguishedName::new()).contains("no name"));
        let mail = |params: &mut CertificateParams| params.extended_key_usages = vec![Extended::EmailProtection];
        assert!(said(mail).contains("extended key usage"));
        let strange = |params: &mut CertificateParams| {
            let mut strange = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            strange.set_criticality(true);
            params.custom_extensions = vec![strange];
        };
        assert!(said(strange).contains("not understood"));
    }

    #[test]
    fn a_signature_that_was_changed_is_seen() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        let mut der = certificate.der().to_vec();
        *der.last_mut().expect("it has a signature") ^= 1;
        let judged = judge_authority(&der.into(), Timestamp::now());
        assert!(matches!(judged, Err(CaProblem::BadSignature(_))), "{judged:?}");
    }

    #[test]
    fn weak_keys_are_told_from_strong_ones() {
        for strong in ["P-256", "P-384", "Ed25519", "RSA-2048", "RSA-4096"] {
            assert!(is_strong(strong), "{strong}");
        }
        for weak in ["RSA-1024", "RSA-2047", "RSA-", "EC 1.3.132.0.10", "algorithm 1.2.840.10040.4.1"] {
            assert!(!is_strong(weak), "{weak}");
        }
    }

    #[test]
    fn bundles_are_bounded_and_names_are_unique() {
        let now = Timestamp::now();
        let made = |count: usize| -> Vec<CertificateDer<'static>> {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
            let key = || KeyPair::generate().expect("a key");
            (0..count).map(|_| params.self_signed(&key()).expect("a certificate").into()).collect()
        };
        assert_eq!(judge_authorities(&[], now), Err(CaProblem::None));
        assert!(matches!(judge_authorities(&made(2), now), Err(CaProblem::SameName(_))));
        assert!(matches!(judge_authorities(&made(MAX_AUTHORITIES + 1), now), Err(CaProblem::TooMany(..))));
    }
}
