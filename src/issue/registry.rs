//! The authority as it lies on disk, opened to issue: certificates, keys and the index, under one lock.
//!
//! `ca.pem` may hold several authorities while one takes over from another. `ca/ca.key` belongs to the one that issues;
//! the keys of the others are `ca/ca-<serial>.key` and sign their revocation lists only.

use super::authority::{Authority, Issued, key_pair};
use super::disk::{self, Lock};
use super::error::{IssueError, Part, PlanError, Refusal};
use super::index::{Index, IndexEntry, Status};
use super::period::Period;
use super::place::{self, Found};
use super::plan::MAX_HOSTS;
use super::{MAX_DAYS, constraints};
use jiff::Timestamp;
use model::{Host, NodeId, Peers, Role, SpiffeId};
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trust::file::{FileError, read_first};
use trust::keyfile::read_key;
use trust::{CertificateFacts, TrustError, check, file, files, layout};

/// One authority of the bundle.
pub(super) struct Held {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) facts: CertificateFacts,
    /// With its key, if that is here.
    pub(super) authority: Option<Authority>,
}

/// The open authority. No other process writes to the certificate directory while this exists.
pub(super) struct Registry {
    pub(super) dir: PathBuf,
    pub(super) now: Timestamp,
    /// Newest first.
    pub(super) held: Vec<Held>,
    pub(super) index: Index,
    /// The place of the one that issues.
    pub(super) issuing: usize,
    _lock: Lock,
}

impl Registry {
    /// Opens the authority of a certificate directory. Fails when it is not there, another process has it, or anything
    /// of it is missing or wrong.
    pub(super) fn open(dir: &Path) -> Result<Self, IssueError> {
        let folder = dir.join(layout::AUTHORITY);
        let key_path = folder.join(layout::CA_KEY);
        if !key_path.exists() {
            return Err(IssueError::Missing { path: key_path, part: Part::AuthorityKey });
        }
        let lock = disk::lock(dir)?;
        let found = Found::in_directory(dir)?;
        found.must_be_whole(dir)?;
        found.clear_unfinished()?;
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
        let advice = "put it back from a backup, or from any machine's folder";
        let (ca_path, certificates) =
            read_first::<CertificateDer<'static>>(&[dir], layout::CA, "certificates", advice)?;
        let facts = check::authorities(&ca_path, &certificates, now)?;
        let held = certificates.into_iter().zip(facts);
        let mut held: Vec<Held> =
            held.map(|(certificate, facts)| Held { certificate, facts, authority: None }).collect();
        let Some(issuing) = give_key(&mut held, &key_path)? else {
            return Err(TrustError::KeyMismatch { key: key_path, certificate: ca_path }.into());
        };
        for path in other_keys(&folder)? {
            give_key(&mut held, &path)?;
        }
        let index = Index::read(&folder)?;
        Ok(Self { dir: dir.to_owned(), now, held, index, issuing, _lock: lock })
    }

    pub(super) fn issuer(&self) -> &Authority {
        self.held[self.issuing].authority.as_ref().expect("it was chosen because its key is here")
    }

    /// All authorities as PEM, newest first: `ca.pem`.
    pub(super) fn bundle(&self) -> String {
        self.held.iter().map(|held| certificate_pem(&held.certificate)).collect()
    }

    /// The cluster's name, as the identities that were issued carry it. Fails when the index names none.
    pub(super) fn trust_domain(&self) -> Result<String, Refusal> {
        let names = self.index.current.iter().rev().flat_map(|entry| &entry.sans);
        let id = names.filter_map(|name| name.strip_prefix("URI:")?.parse::<SpiffeId>().ok()).next();
        id.map(|id| id.trust_domain).ok_or_else(|| Refusal::NoIdentity(self.dir.join(layout::AUTHORITY)))
    }

    /// Where the members are: what their folders here say, else the first address of each in the index. Fails when a
    /// folder's bundle cannot be read.
    pub(super) fn peers(&self) -> Result<BTreeMap<NodeId, Host>, IssueError> {
        let mut peers = BTreeMap::new();
        for entry in self.index.current.iter().filter(|entry| entry.role == "node" && entry.status == Status::Valid) {
            let host =
                entry.sans.iter().find_map(|name| name.strip_prefix("IP:").or_else(|| name.strip_prefix("DNS:")));
            if let (Ok(node), Some(Ok(host))) = (entry.id.parse(), host.map(str::parse)) {
                peers.insert(node, host);
            }
        }
        for (node, folder) in place::node_folders(&self.dir)? {
            if let Ok((_, bundle)) = files::read_bundle(&folder, node, "") {
                peers.extend(bundle.peers.iter().map(|(node, host)| (node, host.clone())));
            }
        }
        Ok(peers)
    }

    /// The members as a mesh, with one of them added or moved. Fails when they do not make a mesh.
    pub(super) fn peers_with(&self, node: NodeId, host: &Host) -> Result<Peers, IssueError> {
        let mut peers = self.peers()?;
        peers.insert(node, host.clone());
        Ok(Peers::new(peers)?)
    }

    /// Issues a certificate and writes it into the index; earlier ones of the same holder are superseded by it. Fails
    /// when it cannot be made, or the members would refuse it.
    pub(super) fn issue(
        &mut self,
        role: &Role,
        hosts: &[Host],
        days: u32,
        public: Option<&SubjectPublicKeyInfo>,
    ) -> Result<Issued, IssueError> {
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(PlanError::Days(days).into());
        }
        if hosts.len() > MAX_HOSTS {
            return Err(PlanError::TooMany(hosts.len(), MAX_HOSTS).into());
        }
        let issuer = self.issuer();
        constraints::check(&issuer.facts, hosts)?;
        let id = SpiffeId { trust_domain: self.trust_domain()?, role: role.clone() };
        let issued = issuer.issue(&id, hosts, public, Period::of_days(days, self.now), self.now)?;
        self.check(&issued, hosts)?;
        let mut lines: Vec<IndexEntry> =
            self.earlier(&issued.entry).map(|entry| entry.turned(Status::Superseded, None, self.now)).collect();
        lines.push(issued.entry.clone());
        // Before any file is written: a certificate that is out can always be found here and revoked.
        self.index.append(&lines)?;
        Ok(issued)
    }

    /// Certificates of the same holder that are in use.
    pub(super) fn earlier<'a>(&'a self, entry: &'a IndexEntry) -> impl Iterator<Item = &'a IndexEntry> {
        let same = |other: &&IndexEntry| (&other.id, &other.role) == (&entry.id, &entry.role);
        self.index.current.iter().filter(same).filter(|other| other.status == Status::Valid)
    }

    /// Asks rustls whether clients and members will take the certificate.
    fn check(&self, issued: &Issued, hosts: &[Host]) -> Result<(), TrustError> {
        let ca = [self.issuer().certificate.clone()];
        let path = self.dir.join(layout::CA);
        let refused =
            |detail| TrustError::Chain { path: PathBuf::from(issued.entry.name()), authority: path.clone(), detail };
        let judge = check::Judge::new(&ca, &[], self.now).map_err(refused)?;
        let chain = file::parse(&path, "a certificate", issued.certificate.as_bytes())?;
        judge.accepts_client(&chain).map_err(refused)?;
        judge.accepts_server(&chain, hosts).map_err(refused)
    }
}

/// Gives a key to the authority that it belongs to, and says which one that is.
fn give_key(held: &mut [Held], path: &Path) -> Result<Option<usize>, IssueError> {
    let Some(pem) = read_key(path)? else { return Ok(None) };
    for (place, one) in held.iter_mut().enumerate() {
        if let Some(authority) = Authority::with_key(&one.certificate, key_pair(path, &pem)?)? {
            one.authority = Some(authority);
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The keys of authorities that do not issue yet or any more.
pub(super) fn other_keys(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let is_other = |name: &str| name.starts_with("ca-") && name.ends_with(".key");
    let mut keys = place::entries(folder)?;
    keys.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_other));
    Ok(keys)
}

/// A certificate as PEM, written as rcgen writes its own.
pub(super) fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    in_pem("CERTIFICATE", certificate)
}

pub(super) fn in_pem(label: &str, der: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lines)
}
