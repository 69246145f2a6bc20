//! Signing of requests, for keys that are elsewhere.
//!
//! Of the request, only its public key is taken: every other field is set from the profile and from what the caller says.

use super::csr::Request;
use super::error::{IssueError, PlanError, Refusal};
use super::folder::{IssueReport, pair};
use super::registry::Registry;
use super::renew::{STRONG, weak};
use super::tree::{PRIVATE_DIRECTORY, PUBLIC_FILE};
use super::{authority, disk, place};
use model::{Host, NodeId, Role, is_name};
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use std::path::PathBuf;
use trust::keyfile::read_key;
use trust::layout;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// A request to be signed, and the holder that it is signed for.
#[derive(Clone, Debug)]
pub struct SignPlan {
    /// The certificate directory.
    pub dir: PathBuf,
    /// The request's file.
    pub request: PathBuf,
    /// Who the holder is.
    pub role: Role,
    /// The addresses of a member; the first is the one that the others dial.
    pub hosts: Vec<Host>,
    /// How long the certificate is valid.
    pub days: u32,
}

/// Issue a certificate for the key of a request, and write it with all that its machine needs beside it. Fails when the
/// request does not prove possession of its key, the key is weak or another one is here, or the authority may not issue
/// for an address.
pub fn sign(plan: &SignPlan) -> Result<IssueReport, IssueError> {
    let first = check(plan)?;
    let mut registry = Registry::open(&plan.dir)?;
    let request = Request::read(&plan.request)?;
    if !STRONG.contains(&request.kind.as_str()) {
        return Err(weak(&plan.request, &request.kind).into());
    }
    let authorities = registry.held.iter().filter_map(|held| held.authority.as_ref());
    if authorities.into_iter().any(|authority| authority.has_key(&request.key)) {
        return Err(Refusal::AuthoritysKey(plan.request.clone()).into());
    }
    other_key_is_here(&registry, plan, &request)?;
    let known = registry.peers()?;
    let joins = first.is_some_and(|(node, _)| !known.contains_key(&node));
    let peers = first.map(|(node, host)| registry.peers_with(node, host).map(|peers| (node, peers))).transpose()?;
    let mut report = match is_there(&registry, plan, &request)? {
        Some(report) => report,
        None => {
            let public = SubjectPublicKeyInfo::from_der(&request.public)?;
            let issued = registry.issue(&plan.role, &plan.hosts, plan.days, Some(&public))?;
            let folder = registry.folder(&plan.role);
            if !folder.exists() {
                disk::create_directory(&folder, PRIVATE_DIRECTORY)?;
            }
            if let Some((node, peers)) = &peers {
                let bundle = registry.describe(*node, peers)?;
                disk::replace_file(&folder.join(layout::BUNDLE), PUBLIC_FILE, bundle.text().as_bytes())?;
            }
            registry.put_pair(&plan.role, &issued)?;
            registry.refresh(&plan.role)?;
            registry.issued_report(&plan.role, &issued)
        }
    };
    if let Some((_, peers)) = peers {
        report.bundles = registry.tell_all(&peers)?;
        report.joins = joins;
        report.peers = Some(peers);
    }
    Ok(report)
}

/// The member and the address that the others dial, for a member.
fn check(plan: &SignPlan) -> Result<Option<(NodeId, &Host)>, PlanError> {
    match (&plan.role, plan.hosts.first()) {
        (Role::Node(node), Some(host)) => Ok(Some((*node, host))),
        (Role::Node(node), None) => Err(PlanError::NoAddress(*node)),
        (Role::Operator(_) | Role::App(_) | Role::Monitor(_), Some(_)) => Err(PlanError::AddressOfClient),
        (Role::Operator(name) | Role::App(name) | Role::Monitor(name), None) => {
            if is_name(name) && !name.contains(place::BACKUP) {
                return Ok(None);
            }
            Err(PlanError::ClientName(name.clone()))
        }
    }
}

/// A certificate is never put beside a key that it does not belong to.
fn other_key_is_here(registry: &Registry, plan: &SignPlan, request: &Request) -> Result<(), IssueError> {
    let path = registry.folder(&plan.role).join(pair(&plan.role).1);
    let Some(pem) = read_key(&path)? else { return Ok(()) };
    let key = zeroize::Zeroizing::new(authority::key_pair(&path, &pem)?);
    if key.public_key_raw() == request.key {
        return Ok(());
    }
    let name = place::folder_name(&plan.role);
    Err(Refusal::OtherKey { key: path, request: plan.request.clone(), name }.into())
}

/// The certificate that is there, if it is of this key, for these addresses and still good.
fn is_there(registry: &Registry, plan: &SignPlan, request: &Request) -> Result<Option<IssueReport>, IssueError> {
    let Some(certificate) = registry.present(&plan.role)? else { return Ok(None) };
    let facts = registry.own(&plan.role, &registry.certificate_path(&plan.role), &certificate)?;
    let same = is_of_key(&certificate, &request.key) && facts.hosts == plan.hosts;
    Ok((same && registry.unusable(&facts).is_none()).then(|| registry.report(&plan.role, &facts)))
}

fn is_of_key(certificate: &CertificateDer<'_>, key: &[u8]) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| *parsed.public_key().subject_public_key.data == *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::testing::tree;
    use crate::{CsrPlan, KeyAlgorithm, request};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;
    use trust::{CertificateFacts, NodeFiles};

    fn d() -> NodeId {
        NodeId::from_letter('d').expect("a letter")
    }

    fn hosts() -> Vec<Host> {
        vec!["127.0.0.1".parse().expect("an address")]
    }

    fn plan(certs: &Path, request: &Path) -> SignPlan {
        SignPlan { dir: certs.into(), request: request.into(), role: Role::Node(d()), hosts: hosts(), days: 30 }
    }

    fn there(dir: &TempDir, key_algorithm: KeyAlgorithm) -> crate::CsrReport {
        let plan = CsrPlan { dir: dir.path().join("there"), node: d(), hosts: hosts(), key_algorithm };
        request(&plan).expect("a request")
    }

    #[test]
    fn every_kind_of_key_is_certified_without_leaving_its_machine() {
        for kind in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519] {
            let (dir, certs) = tree();
            let asked = there(&dir, kind);
            assert!(asked.made_key && asked.written);
            let again = there(&dir, kind);
            assert_eq!(
                (again.made_key, again.written, again.public_key_sha256),
                (false, false, asked.public_key_sha256)
            );
            let report = sign(&plan(&certs, &asked.request)).expect("signed");
            assert!(report.issued && !certs.join("node-d/node.key").exists());
            assert_eq!(report.bundles.len(), 3);
            for file in ["node.pem", "ca.pem", "crl.pem", "bundle.json"] {
                fs::copy(certs.join("node-d").join(file), dir.path().join("there/node-d").join(file)).expect("copied");
            }
            assert!(NodeFiles::load(&dir.path().join("there"), d()).is_ok(), "{kind:?}");
            let again = sign(&plan(&certs, &asked.request)).expect("the same");
            assert_eq!((again.issued, again.serial, again.bundles.len()), (false, report.serial, 0));
        }
    }

    #[test]
    fn nothing_but_the_key_is_taken() {
        let (dir, certs) = tree();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let path = dir.path().join("evil.csr");
        let csr = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
        fs::write(&path, csr.pem().expect("PEM")).expect("written");
        sign(&plan(&certs, &path)).expect("signed");
        let pem = fs::read(certs.join("node-d/node.pem")).expect("a certificate");
        let chain: Vec<CertificateDer<'static>> = trust::file::parse(&path, "", &pem).expect("PEM");
        let facts = CertificateFacts::of(&chain[0]).expect("facts");
        assert!(!facts.is_ca && facts.key_usage == ["digitalSignature"] && facts.hosts == hosts());
        assert_eq!(facts.subject, "O=canary, CN=node-d");
    }

    #[test]
    fn a_request_without_its_key_or_with_a_foreign_one_is_refused() {
        let (dir, certs) = tree();
        let asked = there(&dir, KeyAlgorithm::P256);
        let text = fs::read_to_string(&asked.request).expect("a request");
        let mut der = pem::parse(&text).expect("PEM").contents().to_vec();
        *der.last_mut().expect("a signature") ^= 1;
        let forged = dir.path().join("forged.csr");
        fs::write(&forged, super::super::registry::in_pem("CERTIFICATE REQUEST", &der)).expect("written");
        assert!(sign(&plan(&certs, &forged)).is_err());
        let authority = fs::read_to_string(certs.join("ca/ca.key")).expect("a key");
        let own = CertificateParams::default().serialize_request(&KeyPair::from_pem(&authority).expect("a key"));
        fs::write(&forged, own.expect("a request").pem().expect("PEM")).expect("written");
        assert!(matches!(sign(&plan(&certs, &forged)), Err(IssueError::Refused(Refusal::AuthoritysKey(_)))));
        let other = SignPlan { role: Role::Node(NodeId::A), ..plan(&certs, &asked.request) };
        assert!(matches!(sign(&other), Err(IssueError::Refused(Refusal::OtherKey { .. }))));
        let client = SignPlan { role: Role::Operator("eve".into()), ..plan(&certs, &asked.request) };
        assert!(matches!(sign(&client), Err(IssueError::Plan(_))));
        assert!(sign(&SignPlan { hosts: Vec::new(), ..client }).expect("signed").folder.join("client.pem").exists());
        assert!(!certs.join("node-d").exists());
    }
}
