//! The folders of members and clients beside an open authority: their certificates, and what replaces them.

use super::Existing;
use super::authority::Issued;
use super::disk::{self, Change};
use super::error::{Flaw, IssueError, PlanError, Refusal};
use super::index::{IndexEntry, Status};
use super::place::{self, Building};
use super::registry::Registry;
use super::tree::{PUBLIC_FILE, Tree};
use jiff::Timestamp;
use model::{Host, NodeId, Peers, Role};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use std::path::{Path, PathBuf};
use trust::file::parse;
use trust::files::Bundle;
use trust::{CertificateFacts, file, files, layout};

/// A certificate that was issued, or that was there already.
#[derive(Clone, Debug, Serialize)]
pub struct IssueReport {
    /// Whose it is: `node-a`, `operator-admin`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it was issued now; else it was there and is as asked for.
    pub issued: bool,
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The addresses in it.
    pub hosts: Vec<Host>,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The serial numbers of earlier ones, which are accepted until they expire or are revoked.
    pub superseded: Vec<String>,
    /// What was there before, under its new name.
    pub backup: Option<PathBuf>,
    /// Whether this is a member that the mesh did not have before.
    pub joins: bool,
    /// Every `bundle.json` that was changed.
    pub bundles: Vec<PathBuf>,
    /// All members and their addresses, for a member's certificate.
    pub peers: Option<Peers>,
}

impl Registry {
    /// The certificate of a folder, if there is a folder and a certificate in it.
    pub(super) fn present(&self, role: &Role) -> Result<Option<CertificateDer<'static>>, IssueError> {
        let path = self.certificate_path(role);
        let Some(pem) = file::read(&path)? else { return Ok(None) };
        let chain: Vec<CertificateDer<'static>> = parse(&path, "a certificate", &pem)?;
        Ok(chain.into_iter().next())
    }

    pub(super) fn folder(&self, role: &Role) -> PathBuf {
        self.dir.join(place::folder_name(role))
    }

    pub(super) fn certificate_path(&self, role: &Role) -> PathBuf {
        self.folder(role).join(pair(role).0)
    }

    /// Says that a certificate is there already, if it is the one that is asked for and still good. Fails when there is
    /// one that is not, or the folder holds something else.
    pub(super) fn is_there(&self, role: &Role, hosts: &[Host]) -> Result<Option<IssueReport>, IssueError> {
        let (folder, name) = (self.folder(role), place::folder_name(role));
        if !folder.exists() {
            return Ok(None);
        }
        let path = self.certificate_path(role);
        let Some(certificate) = self.present(role)? else {
            return Err(Refusal::NoCertificate(folder, pair(role).0).into());
        };
        let facts = CertificateFacts::read(&path, &certificate)?;
        if let Some(why) = self.unusable(&facts) {
            return Err(Refusal::Unusable { name, why }.into());
        }
        let same = facts.hosts.len() == hosts.len() && hosts.iter().all(|host| facts.hosts.contains(host));
        if !same {
            return Err(Refusal::OtherAddresses { name, present: shown(&facts.hosts), wanted: shown(hosts) }.into());
        }
        Ok(Some(self.report(role, &facts)))
    }

    /// Why a certificate is not good any more, if it is not.
    pub(super) fn unusable(&self, facts: &CertificateFacts) -> Option<Flaw> {
        let line = self.index.current.iter().find(|entry| entry.serial == facts.serial);
        if line.is_some_and(|entry| entry.status == Status::Revoked) {
            return Some(Flaw::Revoked);
        }
        if facts.not_after <= self.now {
            return Some(Flaw::Expired(facts.not_after));
        }
        let known = self.held.iter().any(|held| held.facts.subject == facts.issuer);
        (!known).then(|| Flaw::OtherAuthority(facts.issuer.clone()))
    }

    /// A report of this certificate, with nothing done.
    pub(super) fn report(&self, role: &Role, facts: &CertificateFacts) -> IssueReport {
        IssueReport {
            name: place::folder_name(role),
            folder: self.folder(role),
            issued: false,
            serial: facts.serial.clone(),
            hosts: facts.hosts.clone(),
            not_after: facts.not_after,
            superseded: Vec::new(),
            backup: None,
            joins: false,
            bundles: Vec::new(),
            peers: None,
        }
    }

    /// A report of what was issued, with the earlier ones that are still accepted.
    pub(super) fn issued_report(&self, role: &Role, issued: &Issued) -> IssueReport {
        let is_same = |entry: &&IndexEntry| (&entry.id, &entry.role) == (&issued.entry.id, &issued.entry.role);
        let same = self.index.current.iter().filter(is_same);
        let open = same.filter(|entry| entry.status == Status::Superseded && entry.not_after > self.now);
        let superseded = open.map(|entry| entry.serial.clone()).collect();
        IssueReport { issued: true, superseded, ..self.report(role, &issued.said()) }
    }

    /// Builds a new folder and puts it in its place; what was there is kept under a new name.
    pub(super) fn put_folder(
        &mut self,
        role: &Role,
        issued: &Issued,
        bundle: Option<&Bundle>,
        existing: Existing,
    ) -> Result<Option<PathBuf>, IssueError> {
        let list = self.current_lists()?;
        let building = Building::start(&self.dir)?;
        let ca = self.bundle();
        let tree = Tree { root: &building.path, ca: &ca, list: &list };
        let name = place::folder_name(role);
        match bundle {
            Some(bundle) => tree.write_node(issued, bundle)?,
            None => tree.write_client(&name, issued)?,
        }
        let folder = self.dir.join(&name);
        let is_kept = existing == Existing::KeepAsBackup && folder.exists();
        let backup = is_kept.then(|| place::unused_backup(&self.dir, &name, self.now));
        if let Some(backup) = &backup {
            disk::rename(&folder, backup)?;
        }
        disk::rename(&building.path.join(&name), &folder)?;
        disk::sync_directory(&self.dir)?;
        Ok(backup)
    }

    /// The revocation lists as they should be in every folder.
    pub(super) fn current_lists(&mut self) -> Result<String, IssueError> {
        self.bring_lists_up_to_date()?;
        let text = file::read(&self.dir.join(layout::CRL))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The description of a member's folder, as of now.
    pub(super) fn describe(&self, node: NodeId, peers: &Peers) -> Result<Bundle, IssueError> {
        Ok(Bundle {
            id: node,
            trust_domain: self.trust_domain()?,
            peers: peers.clone(),
            ca_sha256: self.issuer().facts.sha256.clone(),
        })
    }

    /// Tells every member's folder about all members; which of them did not know.
    pub(super) fn tell_all(&self, peers: &Peers) -> Result<Vec<PathBuf>, IssueError> {
        let mut changed = Vec::new();
        for (node, folder) in place::node_folders(&self.dir)? {
            let path = folder.join(layout::BUNDLE);
            // A folder without one was made by `canary pki csr` and gets its own when it is signed.
            let Ok((_, bundle)) = files::read_bundle(&folder, node, "") else { continue };
            if bundle.peers == *peers {
                continue;
            }
            let bundle = Bundle { peers: peers.clone(), ..bundle };
            if disk::replace_file(&path, PUBLIC_FILE, bundle.text().as_bytes())? == Change::Written {
                changed.push(path);
            }
        }
        Ok(changed)
    }
}

/// The names of certificate and key in the folder of such a holder.
pub(super) const fn pair(role: &Role) -> (&'static str, &'static str) {
    match role {
        Role::Node(_) => layout::NODE,
        Role::Operator(_) | Role::App(_) | Role::Monitor(_) => layout::CLIENT,
    }
}

fn shown(hosts: &[Host]) -> String {
    if hosts.is_empty() {
        return "no address".to_owned();
    }
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The role of the holder whose folder has this name. Fails when it is not a name of that kind.
pub(super) fn role_called(name: &str) -> Result<Role, PlanError> {
    let name = name.trim_end_matches('/');
    let last = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
    place::role_named(last).ok_or_else(|| PlanError::Holder(name.to_owned()))
}
