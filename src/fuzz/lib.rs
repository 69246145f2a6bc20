//! Entry points of the fuzzers in `tools/fuzz`, for certificates, requests and revocation lists from outside.
//!
//! Each does all that is done with such bytes before anything is known to be genuine, and gives whether they were
//! understood. The tests here replay the seeds, which must all be.

use issue::Request;
use model::Role;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tls::{Claim, peer_identity, provider};
use trust::{CertificateFacts, check, file};

/// When the seeds are valid.
const THEN: Duration = Duration::from_secs(1_800_000_000);

/// Reads a certificate as it comes in a handshake, in DER. Gives whether it is an identity.
pub fn certificate(der: &[u8]) -> bool {
    let chain = [CertificateDer::from(der)];
    let facts = certificate_facts(der);
    let claim = Claim::of(&chain[0]);
    verify(&chain[0]);
    let Ok(identity) = peer_identity(&chain) else { return false };
    assert_eq!((claim.spiffe.as_ref(), claim.serial.as_ref()), (Some(&identity.spiffe), Some(&identity.serial)));
    let facts = facts.expect("an identity can be read");
    assert!(!facts.is_ca && facts.spiffe_id == Some(identity.spiffe.to_string()));
    let name = match &identity.spiffe.role {
        Role::Node(node) => node.to_string(),
        Role::Operator(name) | Role::App(name) | Role::Monitor(name) => name.clone(),
    };
    assert!(name.chars().all(|letter| letter.is_ascii_graphic()));
    true
}

/// Lets rustls judge it, by itself as the authority: that fails, after everything was read.
fn verify(certificate: &CertificateDer<'_>) {
    let Some(roots) = roots(&[certificate.clone().into_owned()]) else { return };
    let Ok(verifier) = WebPkiClientVerifier::builder_with_provider(roots, provider()).build() else { return };
    let _ = verifier.verify_client_cert(certificate, &[], UnixTime::since_unix_epoch(THEN));
}

/// Reads revocation lists and the certificates of their authorities, in PEM. Gives whether a node would take them.
pub fn lists(pem: &[u8]) -> bool {
    let taken = lists_facts(pem);
    let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem).flatten().collect();
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem).flatten().collect();
    let Some(roots) = roots(&authorities) else { return false };
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(lists);
    let Ok(verifier) = builder.build() else { return false };
    for authority in &authorities {
        let _ = verifier.verify_client_cert(authority, &[], UnixTime::since_unix_epoch(THEN));
    }
    taken
}

fn roots(authorities: &[CertificateDer<'static>]) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    authorities.iter().try_for_each(|authority| roots.add(authority.clone())).ok()?;
    Some(Arc::new(roots))
}

/// Reads a request as `canary pki sign` does, in PEM. Gives whether it would be signed.
pub fn request(pem: &[u8]) -> bool {
    Request::parse(Path::new("request.pem"), pem).is_ok()
}

/// Reads revocation lists as a node does, and the certificates of their authorities, in PEM. Gives whether a node would
/// take them.
fn lists_facts(pem: &[u8]) -> bool {
    let path = Path::new("crl.pem");
    let authorities: Vec<CertificateDer<'static>> = file::parse(path, "certificates", pem).unwrap_or_default();
    let lists = file::parse::<CertificateRevocationListDer<'static>>(path, "revocation lists", pem).unwrap_or_default();
    !lists.is_empty() && check::revocation_lists(path, &lists, &authorities).is_ok()
}

/// Reads a certificate as `canary pki inspect` does, in DER.
fn certificate_facts(der: &[u8]) -> Option<CertificateFacts> {
    let facts = CertificateFacts::of(&CertificateDer::from(der))?;
    assert!(!facts.subject.contains(char::is_control) && !facts.names.concat().contains(char::is_control));
    let _ = facts.fingerprint();
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_seeds_of_the_fuzzers_are_understood() {
        for (target, understood) in
            [("certificate", certificate as fn(&[u8]) -> bool), ("list", lists), ("request", request)]
        {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/seeds").join(target);
            for seed in fs::read_dir(folder).expect("seeds") {
                let path = seed.expect("readable").path();
                assert!(understood(&fs::read(&path).expect("readable")), "{}", path.display());
            }
        }
    }
}
