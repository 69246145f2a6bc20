//! Renewal of a certificate: the same name, the same addresses, a new key or the same.

use super::authority::Issued;
use super::disk::{self, Change, Staged};
use super::error::{IssueError, Part, Refusal};
use super::folder::{IssueReport, pair, role_called};
use super::registry::Registry;
use super::tree::{PRIVATE_FILE, PUBLIC_FILE};
use super::{MAX_DAYS, place};
use model::Role;
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use trust::file::{FileError, malformed};
use trust::{CertificateFacts, TrustError, files, layout, svid};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The kinds of keys that certificates are issued for.
pub(super) const STRONG: [&str; 3] = ["P-256", "P-384", "Ed25519"];

/// The renewal of one certificate.
#[derive(Clone, Debug)]
pub struct RenewPlan {
    /// The certificate directory.
    pub dir: PathBuf,
    /// Whose certificate: `node-a`, `operator-admin`.
    pub name: String,
    /// Whether the key stays.
    pub key: RenewKey,
    /// How long the new one is valid; as long as the present one when absent.
    pub days: Option<u32>,
}

/// The key that the new certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewKey {
    /// A new one.
    New,
    /// That of the present certificate, which need not be here.
    Same,
}

/// Issue another certificate and put it in the place of the present one, which is accepted until it expires or is
/// revoked. Fails when there is no such certificate here, its new key would have to be elsewhere, or the system
/// refuses.
pub fn renew(plan: &RenewPlan) -> Result<IssueReport, IssueError> {
    let role = role_called(&plan.name)?;
    let mut registry = Registry::open(&plan.dir)?;
    if plan.key == RenewKey::New && !registry.folder(&role).join(pair(&role).1).exists() {
        let name = place::folder_name(&role);
        if registry.present(&role)?.is_some() {
            return Err(Refusal::KeyElsewhere(name).into());
        }
    }
    registry.renew(&role, plan.key, plan.days)
}

impl Registry {
    pub(super) fn renew(&mut self, role: &Role, key: RenewKey, days: Option<u32>) -> Result<IssueReport, IssueError> {
        let path = self.certificate_path(role);
        let Some(present) = self.present(role)? else {
            return Err(IssueError::Missing { path, part: Part::Renewed });
        };
        let facts = self.own(role, &path, &present)?;
        let public = match key {
            RenewKey::New => None,
            RenewKey::Same => Some(public_key(&path, &present, &facts)?),
        };
        let days = days.unwrap_or_else(|| lifetime(&facts));
        let issued = self.issue(role, &facts.hosts, days, public.as_ref())?;
        self.put_pair(role, &issued)?;
        self.refresh(role)?;
        Ok(self.issued_report(role, &issued))
    }

    /// What the certificate of a folder says, once it is clear that it is its holder's.
    pub(super) fn own(
        &self,
        role: &Role,
        path: &Path,
        certificate: &CertificateDer<'_>,
    ) -> Result<CertificateFacts, TrustError> {
        let id = svid::identity(certificate).map_err(TrustError::svid(path))?;
        if id.role != *role {
            return Err(TrustError::identity(path, &id.role, role));
        }
        Ok(CertificateFacts::read(path, certificate)?)
    }

    /// Puts a certificate, and its key if that is new, in the place of what a folder holds.
    ///
    /// Both are complete on disk before the first is moved. A reader who sees the new key beside the old certificate
    /// finds that they do not belong together and keeps what it has.
    pub(super) fn put_pair(&self, role: &Role, issued: &Issued) -> Result<(), IssueError> {
        let folder = self.folder(role);
        let (certificate, key) = pair(role);
        let key = issued.key.as_ref().map(|pem| Staged::write(&folder.join(key), PRIVATE_FILE, pem.as_bytes()));
        let key = key.transpose()?;
        let certificate = Staged::write(&folder.join(certificate), PUBLIC_FILE, issued.certificate.as_bytes())?;
        if let Some(key) = key {
            key.publish()?;
        }
        certificate.publish()?;
        disk::sync_directory(&folder)
    }

    /// Gives a folder the present authorities and lists, and a member's bundle the authority that issues.
    pub(super) fn refresh(&mut self, role: &Role) -> Result<bool, IssueError> {
        let folder = self.folder(role);
        let mut changed = disk::replace_file(&folder.join(layout::CA), PUBLIC_FILE, self.bundle().as_bytes())?;
        if let Role::Node(node) = role {
            self.current_lists()?;
            let peers = match files::read_bundle(&folder, *node, "") {
                Ok((_, bundle)) => bundle.peers,
                Err(TrustError::File(FileError::Missing { .. })) => model::Peers::new(self.peers()?)?,
                Err(error) => return Err(error.into()),
            };
            let text = self.describe(*node, &peers)?.text();
            if disk::replace_file(&folder.join(layout::BUNDLE), PUBLIC_FILE, text.as_bytes())? == Change::Written {
                changed = Change::Written;
            }
        }
        Ok(changed == Change::Written)
    }
}

/// The public key of a certificate, if it is of a kind that is issued for.
pub(super) fn public_key(
    path: &Path,
    certificate: &CertificateDer<'_>,
    facts: &CertificateFacts,
) -> Result<SubjectPublicKeyInfo, IssueError> {
    if !STRONG.contains(&facts.key.as_str()) {
        return Err(weak(path, &facts.key).into());
    }
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| malformed(path, "a certificate", "it is not DER"))?;
    Ok(SubjectPublicKeyInfo::from_der(parsed.public_key().raw)?)
}

pub(super) fn weak(path: &Path, kind: &str) -> Refusal {
    Refusal::WeakKey(path.to_owned(), kind.to_owned(), STRONG.join(", "))
}

/// How many days a certificate was issued for.
fn lifetime(facts: &CertificateFacts) -> u32 {
    let days = facts.not_after.duration_since(facts.not_before).as_hours() / 24;
    u32::try_from(days).unwrap_or(1).clamp(1, MAX_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use crate::{Reason, revoke};
    use model::NodeId;
    use std::fs;
    use trust::{ClientFiles, NodeFiles};

    fn plan(certs: &Path, name: &str, key: RenewKey) -> RenewPlan {
        RenewPlan { dir: certs.to_owned(), name: name.to_owned(), key, days: None }
    }

    fn own(certs: &Path) -> NodeFiles {
        NodeFiles::load(certs, NodeId::A).expect("files")
    }

    #[test]
    fn names_addresses_and_lifetime_stay_and_serial_and_key_do_not() {
        let (_dir, certs) = tree();
        let before = own(&certs);
        let report = renew(&plan(&certs, "node-a", RenewKey::New)).expect("renewed");
        let after = own(&certs);
        assert_eq!(report.superseded, std::slice::from_ref(&before.leaf.serial));
        assert_eq!((&after.leaf.names, &after.bundle), (&before.leaf.names, &before.bundle));
        assert_eq!(lifetime(&after.leaf), lifetime(&before.leaf));
        assert_ne!(after.leaf.serial, before.leaf.serial);
        assert!(*after.key != *before.key);
        let same = renew(&RenewPlan { days: Some(30), ..plan(&certs, "node-a", RenewKey::Same) }).expect("renewed");
        assert_eq!((same.superseded.len(), lifetime(&own(&certs).leaf)), (2, 30));
        assert!(*own(&certs).key == *after.key);
        renew(&plan(&certs, "operator-admin", RenewKey::New)).expect("renewed");
        assert!(ClientFiles::load(&certs.join("operator-admin")).is_ok());
        let names: Vec<_> = fs::read_dir(certs.join("node-a")).expect("a folder").collect();
        assert_eq!(names.len(), 5, "nothing is left over: {names:?}");
    }

    #[test]
    fn a_key_that_is_elsewhere_stays_there() {
        let (_dir, certs) = tree();
        fs::remove_file(certs.join("node-a/node.key")).expect("there");
        let refused = renew(&plan(&certs, "node-a", RenewKey::New));
        assert!(matches!(refused, Err(IssueError::Refused(Refusal::KeyElsewhere(name))) if name == "node-a"));
        assert!(renew(&plan(&certs, "node-a", RenewKey::Same)).expect("renewed").issued);
        assert!(!certs.join("node-a/node.key").exists());
    }

    #[test]
    fn a_run_that_died_between_key_and_certificate_is_mended_by_the_next() {
        let (_dir, certs) = tree();
        fs::copy(certs.join("node-b/node.key"), certs.join("node-a/node.key")).expect("copied");
        fs::write(certs.join("node-a/.node.pem.new"), "half").expect("written");
        assert!(matches!(NodeFiles::load(&certs, NodeId::A), Err(TrustError::KeyMismatch { .. })));
        renew(&plan(&certs, "node-a", RenewKey::New)).expect("renewed");
        assert!(own(&certs).leaf.hosts.len() == 1 && !certs.join("node-a/.node.pem.new").exists());
    }

    #[test]
    fn what_was_revoked_can_be_issued_anew_and_what_is_not_there_cannot() {
        let (_dir, certs) = tree();
        revoke(&certs, "node-a", Reason::KeyCompromise).expect("revoked");
        renew(&plan(&certs, "node-a", RenewKey::New)).expect("renewed");
        assert_eq!(own(&certs).crl_facts[0].revoked.len(), 1);
        assert!(matches!(renew(&plan(&certs, "node-d", RenewKey::New)), Err(IssueError::Missing { .. })));
        assert!(matches!(renew(&plan(&certs, "ca", RenewKey::New)), Err(IssueError::Plan(_))));
        fs::copy(certs.join("node-b/node.pem"), certs.join("node-c/node.pem")).expect("copied");
        assert!(matches!(
            renew(&plan(&certs, "node-c", RenewKey::New)),
            Err(IssueError::Trust(TrustError::Identity { .. }))
        ));
    }
}
