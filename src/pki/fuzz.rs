//! What fuzzers do with files that somebody else made: requests, certificates and revocation lists.

use super::check;
use super::csr::Request;
use super::facts::CertificateFacts;
use super::files::parse;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::path::Path;

/// Reads a request as `canary pki sign` does, in PEM. Gives whether it would be signed.
pub fn request(pem: &[u8]) -> bool {
    Request::parse(Path::new("request.pem"), pem).is_ok()
}

/// Reads revocation lists as a node does, and the certificates of their authorities, in PEM. Gives whether a node would
/// take them.
pub fn lists_facts(pem: &[u8]) -> bool {
    let path = Path::new("crl.pem");
    let authorities: Vec<CertificateDer<'static>> = parse(path, "certificates", pem).unwrap_or_default();
    let lists = parse::<CertificateRevocationListDer<'static>>(path, "revocation lists", pem).unwrap_or_default();
    !lists.is_empty() && check::revocation_lists(path, &lists, &authorities).is_ok()
}

/// Reads a certificate as `canary pki inspect` does, in DER.
pub fn certificate_facts(der: &[u8]) -> Option<CertificateFacts> {
    let facts = CertificateFacts::of(&CertificateDer::from(der))?;
    assert!(!facts.subject.contains(char::is_control) && !facts.names.concat().contains(char::is_control));
    let _ = facts.fingerprint();
    Some(facts)
}
