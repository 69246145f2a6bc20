//! The files of one member or client, read and checked as a whole.
//!
//! What is returned can be used as it stands: the key is the certificate's, the certificate is accepted under the
//! authority, nothing is expired, and nobody else can read the key. What is wrong comes back as one error that names
//! the file.

use super::file::{self, FileError, malformed, read_first};
use super::keyfile::read_key;
use super::layout::{AUTHORITY, BUNDLE, CA, CA_KEY, CLIENT, CRL, NODE};
use super::{CertificateFacts, CrlFacts, TrustError, check, svid};
use jiff::Timestamp;
use model::{Host, NodeId, Peers, Role, SpiffeId};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `bundle.json`: what a member's folder is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Whose folder it is.
    pub id: NodeId,
    /// The cluster, as its authority names it.
    pub trust_domain: String,
    /// All members and their addresses when the certificates were made.
    pub peers: Peers,
    /// SHA-256 of the authority's certificate, in lower-case hexadecimal.
    pub ca_sha256: String,
}

impl Bundle {
    /// The JSON that stands in the file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a bundle is plain strings") + "\n"
    }
}

/// The files of a member: all that it needs to prove who it is and to judge the others.
#[derive(Debug)]
pub struct NodeFiles {
    /// The own certificate, then what stands between it and the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The own key, wiped from memory when dropped, and never shown.
    pub key: Zeroizing<PrivateKeyDer<'static>>,
    /// The authorities, newest first.
    pub ca: Vec<CertificateDer<'static>>,
    /// The revocation lists, at least one for each authority, with signatures checked. They may be stale.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// What the folder is about.
    pub bundle: Bundle,
    /// What the own certificate says.
    pub leaf: CertificateFacts,
    /// What the authorities' certificates say, in the order of `ca`.
    pub ca_facts: Vec<CertificateFacts>,
    /// What the revocation lists say, in the order of `crls`.
    pub crl_facts: Vec<CrlFacts>,
    /// Where the authority's key lies, if it is on this machine; it should not be.
    pub ca_key: Option<PathBuf>,
    /// The own certificate's file.
    pub path: PathBuf,
    /// The time at which all this was judged.
    pub loaded_at: Timestamp,
}

/// The files of a client with a certificate.
#[derive(Debug)]
pub struct ClientFiles {
    /// The own certificate, then what stands between it and the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The own key, wiped from memory when dropped, and never shown.
    pub key: Zeroizing<PrivateKeyDer<'static>>,
    /// The authorities, newest first.
    pub ca: Vec<CertificateDer<'static>>,
    /// Who the holder is.
    pub id: SpiffeId,
    /// What the own certificate says.
    pub leaf: CertificateFacts,
}

impl NodeFiles {
    /// Reads `<certs_dir>/node-x/` now. `ca.pem` and `crl.pem` may also lie in `certs_dir`. Fails when anything is
    /// missing, unsafe, expired, or does not fit the rest.
    pub fn load(certs_dir: &Path, node: NodeId) -> Result<Self, TrustError> {
        Self::load_at(certs_dir, node, Timestamp::now())
    }

    /// [`NodeFiles::load`], judged at a given time.
    pub fn load_at(certs_dir: &Path, node: NodeId, now: Timestamp) -> Result<Self, TrustError> {
        Self::load_folder(&certs_dir.join(node.to_string()), certs_dir, node, now)
    }

    /// [`NodeFiles::load_at`] for a folder of any name.
    pub fn load_folder(folder: &Path, certs_dir: &Path, node: NodeId, now: Timestamp) -> Result<Self, TrustError> {
        let advice =
            format!("copy {node}/ and ca.pem from the certs/ where `canary pki init` ran into {}", shown(certs_dir));
        let (ca_path, ca) = read_first::<CertificateDer<'static>>(&[folder, certs_dir], CA, "certificates", &advice)?;
        let ca_facts = check::authorities(&ca_path, &ca, now)?;
        let (crl_path, crls) = read_first(&[folder, certs_dir], CRL, "revocation lists", &advice)?;
        let crl_facts = check::revocation_lists(&crl_path, &crls, &ca)?;
        let (bundle_path, bundle) = read_bundle(folder, node, &advice)?;
        if !ca_facts.iter().any(|authority| authority.sha256 == bundle.ca_sha256) {
            let detail = format!("it was made with another authority than the one in {}", ca_path.display());
            return Err(TrustError::Bundle { path: bundle_path, detail, node });
        }
        let own = read_pair(folder, NODE, &advice)?;
        let leaf = judge_chain(&own.path, &own.chain, (&ca_path, &ca), &crls, now)?;
        if own.id.trust_domain != bundle.trust_domain {
            let detail =
                format!("its trust domain is {}, the certificate's is {}", bundle.trust_domain, own.id.trust_domain);
            return Err(TrustError::Bundle { path: bundle_path, detail, node });
        }
        if own.id.role != Role::Node(node) {
            return Err(TrustError::identity(&own.path, &own.id.role, &Role::Node(node)));
        }
        let ca_key = find_ca_key(folder, certs_dir);
        let Pair { chain, key, path, .. } = own;
        Ok(Self { chain, key, ca, crls, bundle, leaf, ca_facts, crl_facts, ca_key, path, loaded_at: now })
    }

    /// The cluster, as its authority names it.
    pub fn trust_domain(&self) -> &str {
        &self.bundle.trust_domain
    }

    /// Check that the own certificate carries the address that this member is configured to have. Fails when it does
    /// not: the others would refuse this member, and it could not prove to be at that address.
    pub fn check_address(&self, configured: &Host) -> Result<(), TrustError> {
        if self.leaf.hosts.contains(configured) {
            return Ok(());
        }
        let names: Vec<String> = self.leaf.hosts.iter().map(ToString::to_string).collect();
        Err(TrustError::Address {
            node: self.bundle.id,
            variable: self.bundle.id.variable(),
            configured: configured.clone(),
            path: self.path.clone(),
            names: if names.is_empty() { "no address".into() } else { names.join(", ") },
        })
    }

    /// Check that the others would accept the own certificate of a server at each of its addresses. That they accept it
    /// of a client was seen when it was read. Fails when they would not.
    pub fn check_server(&self) -> Result<(), TrustError> {
        let refused =
            |detail| TrustError::Chain { path: self.path.clone(), authority: self.path.with_file_name(CA), detail };
        let judge = check::Judge::new(&self.ca, &self.crls, self.loaded_at);
        judge.and_then(|judge| judge.accepts_server(&self.chain, &self.leaf.hosts)).map_err(refused)
    }
}

impl ClientFiles {
    /// Reads a client's folder, such as `certs/operator-admin`, now. Fails when anything is missing, unsafe, expired,
    /// or does not fit the rest.
    pub fn load(dir: &Path) -> Result<Self, TrustError> {
        Self::load_at(dir, Timestamp::now())
    }

    /// [`ClientFiles::load`], judged at a given time.
    pub fn load_at(dir: &Path, now: Timestamp) -> Result<Self, TrustError> {
        let name = dir.file_name().map_or_else(|| "operator-admin".into(), |name| name.display().to_string());
        let advice = format!("copy {name}/ from the certs/ where `canary pki init` ran to {}", shown(dir));
        let parent = dir.parent().unwrap_or(dir);
        let (ca_path, ca) = read_first::<CertificateDer<'static>>(&[dir, parent], CA, "certificates", &advice)?;
        check::authorities(&ca_path, &ca, now)?;
        let own = read_pair(dir, CLIENT, &advice)?;
        let leaf = judge_chain(&own.path, &own.chain, (&ca_path, &ca), &[], now)?;
        let Pair { chain, key, id, .. } = own;
        Ok(Self { chain, key, ca, id, leaf })
    }
}

/// The authorities of `<certs_dir>/ca.pem`, for those who only read; now. Fails when the file is missing, or an
/// authority in it cannot be trusted.
pub fn load_ca(certs_dir: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let advice = format!(
        "copy ca.pem from the certs/ where `canary pki init` ran into {}, or name its directory with --certs",
        shown(certs_dir)
    );
    let (path, ca) = read_first::<CertificateDer<'static>>(&[certs_dir], CA, "certificates", &advice)?;
    check::authorities(&path, &ca, Timestamp::now())?;
    Ok(ca)
}

/// A certificate with its key.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<PrivateKeyDer<'static>>,
    id: SpiffeId,
    path: PathBuf,
}

/// Judge a chain as the others will, and give the facts of its first certificate. Fails when it cannot be read, is
/// expired or not yet valid, or rustls refuses the chain under these authorities and lists.
pub fn judge_chain(
    path: &Path,
    chain: &[CertificateDer<'_>],
    (ca_path, ca): (&Path, &[CertificateDer<'static>]),
    crls: &[CertificateRevocationListDer<'static>],
    now: Timestamp,
) -> Result<CertificateFacts, TrustError> {
    let facts = chain.first().and_then(CertificateFacts::of);
    let facts = facts.ok_or_else(|| malformed(path, "a certificate", "it is not DER"))?;
    let path = path.to_owned();
    if now > facts.not_after {
        return Err(TrustError::Expired { path, not_after: facts.not_after, now });
    }
    if now < facts.not_before {
        return Err(TrustError::NotYetValid { path, not_before: facts.not_before, now });
    }
    let judged = check::Judge::new(ca, crls, now).and_then(|judge| judge.accepts_client(chain));
    judged.map_err(|detail| TrustError::Chain { path, authority: ca_path.to_owned(), detail })?;
    Ok(facts)
}

fn read_pair(folder: &Path, (certificate, key): (&str, &str), advice: &str) -> Result<Pair, TrustError> {
    let (path, chain) = read_first::<CertificateDer<'static>>(&[folder], certificate, "certificates", advice)?;
    let Some(leaf) = chain.first() else { return Err(malformed(&path, "certificates", "it holds none").into()) };
    let id = svid::identity(leaf).map_err(TrustError::svid(&path))?;
    let key_path = folder.join(key);
    let Some(pem) = read_key(&key_path)? else {
        return Err(FileError::Missing { path: key_path, advice: advice.to_owned() }.into());
    };
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map(Zeroizing::new)
        .map_err(|error| malformed(&key_path, "a private key", &error.to_string()))?;
    // rustls itself says whether the two belong together.
    match CertifiedKey::from_der(chain.clone(), key.clone_key(), &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(Pair { chain, key, id, path }),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TrustError::KeyMismatch { key: key_path, certificate: path }),
        Err(error) => Err(malformed(&key_path, "a private key", &error.to_string()).into()),
    }
}

/// Reads the description of a member's folder, and gives its path with it. Fails when it is missing, which `advice` is
/// for, cannot be read, or is that of another member.
pub fn read_bundle(folder: &Path, node: NodeId, advice: &str) -> Result<(PathBuf, Bundle), TrustError> {
    let path = folder.join(BUNDLE);
    let Some(json) = file::read(&path)? else {
        return Err(FileError::Missing { path, advice: advice.to_owned() }.into());
    };
    let bundle: Bundle =
        serde_json::from_slice(&json).map_err(|error| malformed(&path, "a bundle", &error.to_string()))?;
    if bundle.id != node {
        return Err(TrustError::identity(&path, &bundle.id, &node));
    }
    if bundle.peers.host(node).is_none() {
        let detail = format!("{node} is not among its peers");
        return Err(TrustError::Bundle { path, detail, node });
    }
    Ok((path, bundle))
}

fn find_ca_key(folder: &Path, certs_dir: &Path) -> Option<PathBuf> {
    let places = [certs_dir.join(AUTHORITY).join(CA_KEY), certs_dir.join(CA_KEY), folder.join(CA_KEY)];
    places.into_iter().find(|place| place.exists())
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".into() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use crate::{CaProblem, CrlProblem};
    use jiff::ToSpan;
    use std::fs;

    fn b() -> NodeId {
        "node-b".parse().expect("a node")
    }

    fn refused(certs: &Path) -> TrustError {
        NodeFiles::load(certs, NodeId::A).expect_err("these files must be refused")
    }

    fn copy(from: &Path, to: &Path) {
        fs::copy(from, to).expect("both are there");
    }

    #[test]
    fn a_member_finds_itself() {
        let (_dir, certs) = tree();
        let files = NodeFiles::load(&certs, b()).expect("a good folder");
        assert_eq!(files.bundle.id, b());
        assert_eq!(files.bundle.peers, Peers::local());
        assert_eq!(files.leaf.spiffe_id, Some(format!("spiffe://{}/node/node-b", files.trust_domain())));
        assert_eq!((files.ca.len(), files.crls.len()), (1, 1));
        assert_eq!(files.crl_facts[0].number.as_deref(), Some("1"));
        assert_eq!(files.ca_key, Some(certs.join("ca/ca.key")));
    }

    #[test]
    fn a_machine_needs_only_its_own_folder() {
        let (_dir, certs) = tree();
        for gone in ["ca", "node-b", "node-c", "operator-admin"] {
            fs::remove_dir_all(certs.join(gone)).expect("there");
        }
        fs::remove_file(certs.join("node-a/ca.pem")).expect("there");
        fs::remove_file(certs.join("node-a/crl.pem")).expect("there");
        assert_eq!(NodeFiles::load(&certs, NodeId::A).expect("found beside it").ca_key, None);
        fs::remove_file(certs.join("ca.pem")).expect("there");
        let text = refused(&certs).to_string();
        assert!(text.contains("node-a/ca.pem is missing: copy node-a/ and ca.pem"), "{text}");
        assert!(load_ca(&certs).is_err());
    }

    #[test]
    fn each_missing_file_is_named() {
        for name in ["node.pem", "node.key", "bundle.json"] {
            let (_dir, certs) = tree();
            let path = certs.join("node-a").join(name);
            fs::remove_file(&path).expect("there");
            assert!(
                matches!(refused(&certs), TrustError::File(FileError::Missing { path: missing, .. }) if missing == path),
                "{name}"
            );
        }
    }

    #[test]
    fn files_that_hold_something_else_are_refused() {
        for name in ["node.pem", "node.key", "ca.pem", "crl.pem", "bundle.json"] {
            for contents in [
                "",
                "{}",
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ] {
                let (_dir, certs) = tree();
                fs::write(certs.join("node-a").join(name), contents).expect("writable");
                let error = refused(&certs);
                let clear = matches!(
                    error,
                    TrustError::File(FileError::Format { .. })
                        | TrustError::Ca { .. }
                        | TrustError::Crl { .. }
                        | TrustError::Svid { .. }
                );
                assert!(clear, "{name} with {contents:?}: {error:?}");
            }
        }
    }

    #[test]
    fn files_of_another_member_or_cluster_are_refused() {
        let (_dir, certs) = tree();
        for name in ["node.pem", "node.key"] {
            copy(&certs.join("node-b").join(name), &certs.join("node-a").join(name));
            let error = refused(&certs);
            match name {
                "node.pem" => assert!(matches!(error, TrustError::KeyMismatch { .. }), "{error:?}"),
                _ => assert!(matches!(error, TrustError::Identity { .. }), "{error:?}"),
            }
        }
        copy(&certs.join("node-b/bundle.json"), &certs.join("node-a/bundle.json"));
        assert!(matches!(refused(&certs), TrustError::Identity { .. }));

        let ((_one, certs), (_two, other)) = (tree(), tree());
        copy(&other.join("ca.pem"), &certs.join("node-a/ca.pem"));
        assert!(matches!(refused(&certs), TrustError::Crl { problem: CrlProblem::UnknownIssuer(_), .. }));
        copy(&other.join("crl.pem"), &certs.join("node-a/crl.pem"));
        assert!(matches!(refused(&certs), TrustError::Bundle { .. }));
        copy(&other.join("node-a/bundle.json"), &certs.join("node-a/bundle.json"));
        let error = refused(&certs);
        assert!(matches!(&error, TrustError::Chain { detail, .. } if detail.contains("UnknownIssuer")), "{error:?}");
    }

    #[test]
    fn an_operator_is_no_member_and_a_member_no_operator() {
        let (_dir, certs) = tree();
        let operator = certs.join("operator-admin");
        assert_eq!(ClientFiles::load(&operator).expect("a client").id.role, Role::Operator("admin".into()));
        copy(&operator.join("client.pem"), &certs.join("node-a/node.pem"));
        copy(&operator.join("client.key"), &certs.join("node-a/node.key"));
        assert!(matches!(refused(&certs), TrustError::Identity { .. }));
    }

    #[test]
    fn dates_are_judged_at_the_time_given() {
        let (_dir, certs) = tree();
        let at = |hours: i64| NodeFiles::load_at(&certs, NodeId::A, Timestamp::now() + hours.hours());
        assert!(at(0).is_ok() && at(89 * 24).is_ok());
        assert!(matches!(at(90 * 24 + 1), Err(TrustError::Expired { .. })));
        assert!(matches!(at(3650 * 24 + 1), Err(TrustError::Ca { problem: CaProblem::Expired(..), .. })));
        assert!(matches!(at(-2), Err(TrustError::Ca { problem: CaProblem::NotYetValid(..), .. })));
        let late = ClientFiles::load_at(&certs.join("operator-admin"), Timestamp::now() + (91 * 24).hours());
        assert!(matches!(late, Err(TrustError::Expired { .. })));
    }

    #[test]
    fn a_readable_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, certs) = tree();
        fs::set_permissions(certs.join("node-a/node.key"), fs::Permissions::from_mode(0o640)).expect("own file");
        assert!(matches!(refused(&certs), TrustError::UnsafeKey { .. }));
    }

    #[test]
    fn configured_addresses_must_stand_in_the_certificate() {
        let (_dir, certs) = tree();
        let files = NodeFiles::load(&certs, b()).expect("a good folder");
        assert!(files.check_address(&"127.0.0.1".parse().expect("an address")).is_ok());
        let error = files.check_address(&"10.0.0.2".parse().expect("an address")).expect_err("not in it");
        let text = error.to_string();
        assert!(text.starts_with("PEERS_NODE_B=10.0.0.2 contradicts") && text.contains("for 127.0.0.1"), "{text}");
    }

    #[test]
    fn a_forged_revocation_list_is_refused() {
        let (_dir, certs) = tree();
        let path = certs.join("node-a/crl.pem");
        let mut list = CertificateRevocationListDer::from_pem_file(&path).expect("a list").to_vec();
        *list.last_mut().expect("it has a signature") ^= 1;
        let problem = check::revocation_lists(&path, &[list.into()], &load_ca(&certs).expect("an authority"));
        assert!(matches!(problem, Err(TrustError::Crl { problem: CrlProblem::BadSignature(_), .. })), "{problem:?}");
        let none = check::revocation_lists(&path, &[], &load_ca(&certs).expect("an authority"));
        assert!(matches!(none, Err(TrustError::Crl { problem: CrlProblem::Absent(_), .. })));
    }
}
