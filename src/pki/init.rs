//! Makes all certificates of a new cluster, or none.
//!
//! The tree is built and checked in a directory of its own within the target and moved into place at the end. A run
//! that dies before that leaves nothing that counts; one that dies between the first move and the last is noticed by
//! the next run.

use super::authority::{Authority, Issued};
use super::disk::{self, failed};
use super::files::{self, Bundle, ClientFiles, NodeFiles};
use super::profile::{Period, Permitted};
use super::{Cidr, KeyAlgorithm, PkiError, check, facts};
use crate::model::{Host, NodeId, Peers, Role, SpiffeId, is_name, is_trust_domain};
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::ServerName;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// A clock that is slow by less than this still accepts a certificate made just now.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);
/// The longest that a certificate may live, in days: ten years, as long as the authority by default.
const MAX_DAYS: u32 = 3650;
/// The longest that an authority may live, in days: a hundred years.
const MAX_CA_DAYS: u32 = 36_500;
/// The most addresses of one node: each is a name in its certificate and in the authority's constraints.
const MAX_HOSTS: usize = 32;
const PUBLIC_DIR: u32 = 0o755;
const PRIVATE_DIR: u32 = 0o700;
const PUBLIC_FILE: u32 = 0o644;
const PRIVATE_FILE: u32 = 0o600;
/// A tree that is being built. The name begins with a dot so that no one copies it.
const BUILDING: &str = ".building-";
/// A finished tree of which some entries may have been moved into place.
const MOVING: &str = ".moving-";
const BACKUP: &str = ".bak-";
const CLIENT_PREFIXES: [&str; 3] = ["operator-", "app-", "monitor-"];

/// What to make. [`InitPlan::new`] fills in the defaults.
#[derive(Clone, Debug)]
pub struct InitPlan {
    /// The certificate directory; made if it is not there.
    pub dir: PathBuf,
    /// All members. The first address of each is the one that the others dial.
    pub nodes: BTreeMap<NodeId, Vec<Host>>,
    /// The cluster's name; drawn at random when absent.
    pub trust_domain: Option<String>,
    /// How long certificates are valid, 1 to 3650 days.
    pub days: u32,
    /// How long the authority is valid, 1 to 36 500 days.
    pub ca_days: u32,
    /// The kind of all keys.
    pub key_algorithm: KeyAlgorithm,
    /// What the authority may issue for.
    pub constraints: Constraints,
    /// The name of the operator.
    pub operator: String,
    /// Whether every member also answers to the names of its own machine.
    pub dev: DevNames,
    /// What to do with certificates that are there already.
    pub existing: Existing,
}

/// What the new authority may issue for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraints {
    /// The configured addresses and these.
    Named {
        /// Domains, with all names below them.
        dns: Vec<String>,
        /// Address blocks.
        cidrs: Vec<Cidr>,
    },
    /// Everything.
    Unlimited,
}

/// Whether `localhost`, 127.0.0.1 and `::1` stand in every member's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevNames {
    /// They do not.
    LeftOut,
    /// They do.
    Included,
}

/// What to do with certificates that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fail and touch nothing.
    Refuse,
    /// Rename them to `*.bak-<time>`.
    KeepAsBackup,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct InitReport {
    /// The certificate directory.
    pub dir: PathBuf,
    /// The cluster's name.
    pub trust_domain: String,
    /// SHA-256 of the authority's certificate, in lower-case hexadecimal.
    pub ca_sha256: String,
    /// Until when the authority is valid.
    pub ca_not_after: Timestamp,
    /// The members.
    pub nodes: Vec<NodeReport>,
    /// The operator's folder.
    pub operator: PathBuf,
    /// Until when the certificates of members and operator are valid.
    pub not_after: Timestamp,
    /// What was there before, under its new names.
    pub backups: Vec<PathBuf>,
    /// What the caller should know, as sentences.
    pub warnings: Vec<String>,
}

/// One member's certificate.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Whose it is.
    pub id: NodeId,
    /// The folder to copy.
    pub folder: PathBuf,
    /// The addresses in the certificate.
    pub hosts: Vec<Host>,
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
}

impl InitPlan {
    /// A plan with the defaults: 90 days, ten years for the authority, P-256, an operator called `admin`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, nodes: BTreeMap<NodeId, Vec<Host>>) -> Self {
        Self {
            dir: dir.into(),
            nodes,
            trust_domain: None,
            days: 90,
            ca_days: 3650,
            key_algorithm: KeyAlgorithm::P256,
            constraints: Constraints::Named { dns: Vec::new(), cidrs: Vec::new() },
            operator: "admin".to_owned(),
            dev: DevNames::LeftOut,
            existing: Existing::Refuse,
        }
    }

    /// A plan for members with one address each.
    #[must_use]
    pub fn for_peers(dir: impl Into<PathBuf>, peers: &Peers) -> Self {
        Self::new(dir, peers.iter().map(|(id, host)| (id, vec![host.clone()])).collect())
    }

    /// The first address of each member, which is where the others dial it.
    fn peers(&self) -> Result<Peers, PkiError> {
        let mut first = Vec::new();
        for (id, hosts) in &self.nodes {
            let Some(host) = hosts.first() else { return Err(PkiError::Plan(format!("{id} has no address"))) };
            if hosts.len() > MAX_HOSTS {
                return Err(PkiError::Plan(format!("{id} has {} addresses, more than {MAX_HOSTS}", hosts.len())));
            }
            first.push((*id, host.clone()));
        }
        Ok(Peers::new(first)?)
    }

    fn check(&self) -> Result<(), PkiError> {
        let wrong = |text: String| Err(PkiError::Plan(text));
        if let Some(domain) = self.trust_domain.as_ref().filter(|domain| !is_trust_domain(domain)) {
            return wrong(format!("{domain:?} is not a trust domain: use 1 to 255 of a-z, 0-9, '.', '-' and '_'"));
        }
        if !(1..=MAX_DAYS).contains(&self.days) {
            return wrong(format!("certificates cannot be valid for {} days: use 1 to {MAX_DAYS}", self.days));
        }
        if !(1..=MAX_CA_DAYS).contains(&self.ca_days) {
            return wrong(format!("an authority cannot be valid for {} days: use 1 to {MAX_CA_DAYS}", self.ca_days));
        }
        if !is_name(&self.operator) || self.operator.contains(BACKUP) {
            let rule = "use 1 to 64 of A-Z, a-z, 0-9, '.', '-' and '_'";
            return wrong(format!("{:?} cannot be an operator's name: {rule}", self.operator));
        }
        if let Constraints::Named { dns, .. } = &self.constraints {
            for name in dns {
                if !matches!(domain(name).parse(), Ok(Host::Name(_))) {
                    return wrong(format!("{name:?} is not a domain: use one such as example.org"));
                }
            }
        }
        Ok(())
    }

    /// All addresses of a member's certificate, each once, in the order they were given.
    fn hosts(&self, node: NodeId) -> Vec<Host> {
        let loopback = match self.dev {
            DevNames::LeftOut => Vec::new(),
            DevNames::Included => vec![
                Host::Name("localhost".to_owned()),
                Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Host::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
        };
        let mut hosts: Vec<Host> = Vec::new();
        for host in self.nodes.get(&node).into_iter().flatten().chain(&loopback) {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    /// The configured addresses and what is permitted beyond them.
    fn permitted(&self) -> Option<Permitted> {
        let Constraints::Named { dns, cidrs } = &self.constraints else { return None };
        let (mut names, mut blocks) = (BTreeSet::new(), BTreeSet::new());
        for host in self.nodes.keys().flat_map(|node| self.hosts(*node)) {
            match host {
                Host::Ip(address) => blocks.insert(Cidr::of(address)),
                Host::Name(name) => names.insert(name),
            };
        }
        names.extend(dns.iter().map(|name| domain(name).to_ascii_lowercase()));
        blocks.extend(cidrs.iter().copied());
        Some(Permitted { names: names.into_iter().collect(), blocks: blocks.into_iter().collect() })
    }
}

/// A domain as it stands in a constraint; people also write it with a leading dot.
fn domain(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('.').unwrap_or(text)
}

/// Makes the authority, a certificate for each member, one operator and an empty revocation list.
///
/// The result has been read back and checked as the members and rustls will.
///
/// # Errors
/// When the plan is wrong, certificates are there already, or the system refuses. Then nothing has been made, unless
/// the error says otherwise.
pub fn init(plan: &InitPlan) -> Result<InitReport, PkiError> {
    plan.check()?;
    let peers = plan.peers()?;
    let new_dir = make_directory(&plan.dir)?;
    let outcome = init_in(plan, &peers);
    if outcome.is_err() && new_dir == NewDirectory::Made {
        // Only an empty directory goes; if it stays, it stays empty of certificates.
        let _ = fs::remove_dir(&plan.dir);
    }
    outcome
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NewDirectory {
    Made,
    WasThere,
}

fn make_directory(dir: &Path) -> Result<NewDirectory, PkiError> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => return Ok(NewDirectory::WasThere),
        Ok(_) => return Err(PkiError::NotADirectory(dir.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", dir)(error)),
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    disk::create_directory(dir, PUBLIC_DIR)?;
    Ok(NewDirectory::Made)
}

fn init_in(plan: &InitPlan, peers: &Peers) -> Result<InitReport, PkiError> {
    let _lock = disk::lock(&plan.dir)?;
    let found = Found::in_directory(&plan.dir)?;
    if plan.existing == Existing::Refuse {
        found.must_be_empty(&plan.dir)?;
    }
    for leftover in &found.unfinished {
        fs::remove_dir_all(leftover).map_err(failed("remove", leftover))?;
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let building = Building::start(&plan.dir)?;
    let made = build(plan, peers, &building.path, now)?;
    check_tree(plan, &building.path, now)?;
    let backups = building.move_into_place(&plan.dir, &found, now)?;
    Ok(report(plan, peers, made, backups))
}

/// What a certificate directory holds already.
struct Found {
    /// Names of entries that belong to certificates.
    entries: Vec<String>,
    /// Trees of runs that died while they built.
    unfinished: Vec<PathBuf>,
    /// Trees of runs that died while they moved.
    interrupted: Vec<PathBuf>,
}

impl Found {
    fn in_directory(dir: &Path) -> Result<Self, PkiError> {
        let mut found = Self { entries: Vec::new(), unfinished: Vec::new(), interrupted: Vec::new() };
        for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
            let entry = entry.map_err(failed("list", dir))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(BUILDING) {
                found.unfinished.push(entry.path());
            } else if name.starts_with(MOVING) {
                found.interrupted.push(entry.path());
            } else if is_ours(&name) {
                found.entries.push(name);
            }
        }
        found.entries.sort();
        Ok(found)
    }

    fn must_be_empty(&self, dir: &Path) -> Result<(), PkiError> {
        if !self.interrupted.is_empty() {
            return Err(PkiError::Interrupted { dir: dir.to_owned() });
        }
        if self.entries.is_empty() {
            return Ok(());
        }
        Err(PkiError::Exists { dir: dir.to_owned(), entries: self.entries.join(", ") })
    }
}

fn is_ours(name: &str) -> bool {
    let is_node = name.starts_with("node-") && name.parse::<NodeId>().is_ok();
    let is_client = CLIENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !name.contains(BACKUP) && (is_node || is_client || [files::CA, files::CRL, files::AUTHORITY].contains(&name))
}

/// A tree under construction, removed when dropped before it is moved.
struct Building {
    path: PathBuf,
}

impl Building {
    fn start(dir: &Path) -> Result<Self, PkiError> {
        let path = dir.join(format!("{BUILDING}{}", random_word()?));
        disk::create_directory(&path, PRIVATE_DIR)?;
        Ok(Self { path })
    }

    /// Moves every entry to its place, after what was there has been renamed.
    fn move_into_place(mut self, dir: &Path, found: &Found, now: Timestamp) -> Result<Vec<PathBuf>, PkiError> {
        disk::sync_directory(&self.path)?;
        let moving = dir.join(format!("{MOVING}{}", random_word()?));
        disk::rename(&self.path, &moving)?;
        // From here on a crash leaves a mixture, which the next run must notice: the tree is not removed on errors.
        self.path = PathBuf::new();
        disk::sync_directory(dir)?;
        let mut backups = Vec::new();
        for name in &found.entries {
            let backup = unused_backup(dir, name, now);
            disk::rename(&dir.join(name), &backup)?;
            backups.push(backup);
        }
        for entry in fs::read_dir(&moving).map_err(failed("list", &moving))? {
            let entry = entry.map_err(failed("list", &moving))?;
            disk::rename(&entry.path(), &dir.join(entry.file_name()))?;
        }
        disk::sync_directory(dir)?;
        for done in found.interrupted.iter().chain([&moving]) {
            fs::remove_dir_all(done).map_err(failed("remove", done))?;
        }
        disk::sync_directory(dir)?;
        Ok(backups)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn random_word() -> Result<String, PkiError> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(PkiError::Random)?;
    Ok(facts::hex(&bytes))
}

/// `node-a.bak-20261120T020647Z`, with a number behind it if there is one of that second already.
fn unused_backup(dir: &Path, name: &str, now: Timestamp) -> PathBuf {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let first = dir.join(format!("{name}{BACKUP}{time}"));
    let numbered = (2..).map(|number: u32| dir.join(format!("{name}{BACKUP}{time}-{number}")));
    let mut candidates = std::iter::once(first).chain(numbered);
    candidates.find(|candidate| fs::symlink_metadata(candidate).is_err()).expect("there are more numbers than files")
}

/// What the report needs to know of the new tree.
struct Made {
    trust_domain: String,
    ca: facts::CertificateFacts,
    nodes: BTreeMap<NodeId, facts::CertificateFacts>,
    operator: facts::CertificateFacts,
}

fn build(plan: &InitPlan, peers: &Peers, root: &Path, now: Timestamp) -> Result<Made, PkiError> {
    let trust_domain = match &plan.trust_domain {
        Some(domain) => domain.clone(),
        None => format!("c-{}.canary", random_word()?),
    };
    let (authority, ca) =
        Authority::create(plan.key_algorithm, period(now, plan.ca_days), plan.permitted().as_ref(), now)?;
    let certificates = period(now, plan.days);
    let list = authority.empty_list(FIRST_LIST, certificates)?;
    let tree = Tree { root, ca: &ca.certificate, list: &list };
    let ca_facts = said(&ca);
    let mut index = vec![ca.entry.clone()];

    let mut nodes = BTreeMap::new();
    for (node, _) in peers.iter() {
        let id = SpiffeId { trust_domain: trust_domain.clone(), role: Role::Node(node) };
        let issued = authority.issue(&id, &plan.hosts(node), certificates, now)?;
        let bundle = Bundle {
            id: node,
            trust_domain: trust_domain.clone(),
            peers: peers.clone(),
            ca_sha256: ca_facts.sha256.clone(),
        };
        tree.write_node(&issued, &bundle)?;
        nodes.insert(node, said(&issued));
        index.push(issued.entry);
    }
    let id = SpiffeId { trust_domain: trust_domain.clone(), role: Role::Operator(plan.operator.clone()) };
    let operator = authority.issue(&id, &[], certificates, now)?;
    tree.write_client(&folder_of(plan), &operator)?;
    let operator_facts = said(&operator);
    index.push(operator.entry);
    tree.write_authority(&ca, &index)?;
    Ok(Made { trust_domain, ca: ca_facts, nodes, operator: operator_facts })
}

/// The number of the first revocation list; each later one has the next.
const FIRST_LIST: u64 = 1;

fn period(now: Timestamp, days: u32) -> Period {
    // The latest start plus a hundred years is far from the end of the calendar.
    let length = SignedDuration::from_hours(i64::from(days) * 24);
    Period { from: now.checked_sub(BACKDATED).unwrap_or(now), until: now.checked_add(length).unwrap_or(Timestamp::MAX) }
}

fn folder_of(plan: &InitPlan) -> String {
    format!("operator-{}", plan.operator)
}

fn said(issued: &Issued) -> facts::CertificateFacts {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).ok();
    der.as_ref().and_then(facts::CertificateFacts::of).expect("this PEM was written a moment ago")
}

/// Writes the files of a new tree.
struct Tree<'a> {
    root: &'a Path,
    ca: &'a str,
    list: &'a str,
}

impl Tree<'_> {
    fn write_node(&self, issued: &Issued, bundle: &Bundle) -> Result<(), PkiError> {
        let folder = self.folder(&bundle.id.to_string())?;
        let (certificate, key) = files::NODE;
        write_pair(&folder, issued, certificate, key)?;
        disk::create_file(&folder.join(files::CA), PUBLIC_FILE, self.ca.as_bytes())?;
        disk::create_file(&folder.join(files::CRL), PUBLIC_FILE, self.list.as_bytes())?;
        let json = serde_json::to_string_pretty(bundle).expect("a bundle is plain strings") + "\n";
        disk::create_file(&folder.join(files::BUNDLE), PUBLIC_FILE, json.as_bytes())?;
        disk::sync_directory(&folder)
    }

    fn write_client(&self, name: &str, issued: &Issued) -> Result<(), PkiError> {
        let folder = self.folder(name)?;
        let (certificate, key) = files::CLIENT;
        write_pair(&folder, issued, certificate, key)?;
        disk::create_file(&folder.join(files::CA), PUBLIC_FILE, self.ca.as_bytes())?;
        disk::sync_directory(&folder)
    }

    fn write_authority(&self, ca: &Issued, index: &[super::authority::IndexEntry]) -> Result<(), PkiError> {
        let folder = self.folder(files::AUTHORITY)?;
        disk::create_file(&folder.join(files::CA_KEY), PRIVATE_FILE, ca.key.as_bytes())?;
        let mut lines = String::new();
        for entry in index {
            lines += &serde_json::to_string(entry).expect("an entry is plain strings");
            lines.push('\n');
        }
        disk::create_file(&folder.join("index.jsonl"), PRIVATE_FILE, lines.as_bytes())?;
        disk::create_file(&folder.join("crlnumber"), PRIVATE_FILE, format!("{FIRST_LIST}\n").as_bytes())?;
        disk::sync_directory(&folder)?;
        disk::create_file(&self.root.join(files::CA), PUBLIC_FILE, self.ca.as_bytes())?;
        disk::create_file(&self.root.join(files::CRL), PUBLIC_FILE, self.list.as_bytes())
    }

    fn folder(&self, name: &str) -> Result<PathBuf, PkiError> {
        let folder = self.root.join(name);
        disk::create_directory(&folder, PRIVATE_DIR)?;
        Ok(folder)
    }
}

fn write_pair(folder: &Path, issued: &Issued, certificate: &str, key: &str) -> Result<(), PkiError> {
    disk::create_file(&folder.join(certificate), PUBLIC_FILE, issued.certificate.as_bytes())?;
    disk::create_file(&folder.join(key), PRIVATE_FILE, issued.key.as_bytes())
}

/// Reads the new tree as its users will, and asks rustls about every address.
fn check_tree(plan: &InitPlan, root: &Path, now: Timestamp) -> Result<(), PkiError> {
    for (node, hosts) in &plan.nodes {
        let own = NodeFiles::load_at(root, *node, now)?;
        hosts.iter().try_for_each(|host| own.check_address(host))?;
        let judge = check::Judge::new(&own.ca, &own.crls, now);
        let refused = |detail| PkiError::Chain { path: own.path.clone(), authority: root.join(files::CA), detail };
        let judge = judge.map_err(refused)?;
        for host in plan.hosts(*node) {
            let name =
                ServerName::try_from(host.to_string()).map_err(|_| refused(format!("{host} is not a TLS name")))?;
            judge.accepts_server(&own.chain, &name).map_err(refused)?;
        }
    }
    ClientFiles::load_at(&root.join(folder_of(plan)), now).map(|_| ())
}

fn report(plan: &InitPlan, peers: &Peers, made: Made, backups: Vec<PathBuf>) -> InitReport {
    let nodes = made.nodes.into_iter().map(|(id, leaf)| NodeReport {
        id,
        folder: plan.dir.join(id.to_string()),
        hosts: leaf.hosts,
        serial: leaf.serial,
    });
    InitReport {
        dir: plan.dir.clone(),
        trust_domain: made.trust_domain,
        ca_sha256: made.ca.sha256,
        ca_not_after: made.ca.not_after,
        nodes: nodes.collect(),
        operator: plan.dir.join(folder_of(plan)),
        not_after: made.operator.not_after,
        backups,
        warnings: warnings(plan, peers, made.ca.not_after, made.operator.not_after),
    }
}

fn warnings(plan: &InitPlan, peers: &Peers, ca_until: Timestamp, until: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let sharing = peers.sharing();
    if !sharing.is_empty() {
        warnings.push(format!("{sharing} share an address: it does not tell them apart"));
    }
    let loopback = peers.iter().filter(|(_, host)| host.is_loopback()).count();
    if loopback > 0 && loopback < peers.members().len() {
        warnings.push("some members have a loopback address, which other machines cannot reach".to_owned());
    }
    if plan.days > plan.ca_days && until == ca_until {
        warnings.push(format!("certificates end with their authority, after {} days", plan.ca_days));
    }
    if plan.dev == DevNames::Included {
        warnings.push("with --dev every member can answer as localhost: not for production".to_owned());
    }
    if plan.constraints == Constraints::Unlimited {
        warnings.push("without name constraints this authority can issue for any name".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn plan(dir: &TempDir) -> InitPlan {
        InitPlan::for_peers(dir.path().join("certs"), &Peers::local())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
            .collect();
        names.sort();
        names
    }

    const TREE: [&str; 7] = ["ca", "ca.pem", "crl.pem", "node-a", "node-b", "node-c", "operator-admin"];

    #[test]
    fn a_tree_is_complete_and_holds_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let report = init(&plan(&dir)).expect("a tree");
        assert_eq!(names(&report.dir), TREE);
        assert_eq!(names(&report.dir.join("ca")), ["ca.key", "crlnumber", "index.jsonl"]);
        assert_eq!(names(&report.nodes[1].folder), ["bundle.json", "ca.pem", "crl.pem", "node.key", "node.pem"]);
        assert_eq!(names(&report.operator), ["ca.pem", "client.key", "client.pem"]);
        let index = fs::read_to_string(report.dir.join("ca/index.jsonl")).expect("an index");
        let serials: BTreeSet<String> = index
            .lines()
            .map(|line| serde_json::from_str::<super::super::authority::IndexEntry>(line).expect("an entry"))
            .map(|entry| serde_json::to_value(entry).expect("JSON")["serial"].to_string())
            .collect();
        assert_eq!(serials.len(), 5, "the authority, three members and an operator, each with its own serial");
    }

    #[test]
    fn a_second_run_changes_nothing_unless_told_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = init(&plan(&dir)).expect("a tree");
        let ca = fs::read(first.dir.join("ca.pem")).expect("readable");
        assert!(matches!(init(&plan(&dir)), Err(PkiError::Exists { .. })));
        assert_eq!(fs::read(first.dir.join("ca.pem")).expect("readable"), ca);
        assert_eq!(names(&first.dir), TREE);
        for round in 1..=2 {
            let report = init(&InitPlan { existing: Existing::KeepAsBackup, ..plan(&dir) }).expect("a new tree");
            assert_eq!(report.backups.len(), TREE.len());
            assert_eq!(names(&first.dir).len(), TREE.len() * (round + 1));
            assert_ne!(fs::read(first.dir.join("ca.pem")).expect("readable"), ca);
        }
    }

    #[test]
    fn what_a_dead_run_left_is_cleared_or_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = dir.path().join("certs");
        // Died while it built: nothing counts.
        fs::create_dir_all(certs.join(".building-00c0ffee/node-a")).expect("made");
        init(&plan(&dir)).expect("a tree");
        assert_eq!(names(&certs), TREE);
        // Died while it moved: a mixture.
        fs::create_dir_all(certs.join(".moving-00c0ffee/node-c")).expect("made");
        fs::remove_dir_all(certs.join("node-c")).expect("there");
        assert!(matches!(init(&plan(&dir)), Err(PkiError::Interrupted { .. })));
        init(&InitPlan { existing: Existing::KeepAsBackup, ..plan(&dir) }).expect("a new tree");
        assert!(!names(&certs).iter().any(|name| name.starts_with('.')));
        assert!(NodeFiles::load(&certs, NodeId::A).is_ok());
    }

    #[test]
    fn a_failed_run_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = dir.path().join("certs");
        fs::create_dir(&certs).expect("made");
        let held = disk::lock(&certs).expect("free");
        assert!(matches!(init(&plan(&dir)), Err(PkiError::Busy { .. })));
        drop(held);
        assert_eq!(names(&certs), [""; 0]);
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(init(&InitPlan { dir: file, ..plan(&dir) }), Err(PkiError::NotADirectory(_))));
    }

    #[test]
    fn plans_that_cannot_be_made_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let good = plan(&dir);
        let named = |dns: &str| Constraints::Named { dns: vec![dns.to_owned()], cidrs: Vec::new() };
        let mut no_address = good.clone();
        no_address.nodes.insert(NodeId::A, Vec::new());
        let mut two = good.clone();
        two.nodes.pop_last();
        let wrong = [
            InitPlan { days: 0, ..good.clone() },
            InitPlan { days: MAX_DAYS + 1, ..good.clone() },
            InitPlan { ca_days: 0, ..good.clone() },
            InitPlan { ca_days: MAX_CA_DAYS + 1, ..good.clone() },
            InitPlan { trust_domain: Some("Cluster".into()), ..good.clone() },
            InitPlan { trust_domain: Some(String::new()), ..good.clone() },
            InitPlan { operator: "../a".into(), ..good.clone() },
            InitPlan { operator: "a.bak-b".into(), ..good.clone() },
            InitPlan { constraints: named("10.0.0.1"), ..good.clone() },
            InitPlan { constraints: named("*.example"), ..good.clone() },
            no_address,
            two,
        ];
        for plan in wrong {
            assert!(matches!(init(&plan), Err(PkiError::Plan(_) | PkiError::Peers(_))), "{plan:?}");
        }
        assert!(!good.dir.exists());
    }

    #[test]
    fn every_kind_of_key_and_address_makes_a_tree_that_is_accepted() {
        let hosts = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<Host>>();
        let nodes: BTreeMap<NodeId, Vec<Host>> = crate::model::NodeSet::first(3)
            .iter()
            .zip([hosts(&["10.0.0.1", "a.example", "10.0.0.1"]), hosts(&["2001:db8::2"]), hosts(&["node_c"])])
            .collect();
        for key_algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519] {
            for constraints in
                [Constraints::Named { dns: vec![".example.org".into()], cidrs: Vec::new() }, Constraints::Unlimited]
            {
                let dir = tempfile::tempdir().expect("a directory");
                let plan = InitPlan {
                    key_algorithm,
                    constraints,
                    dev: DevNames::Included,
                    ..InitPlan::new(dir.path().join("a/b"), nodes.clone())
                };
                let report = init(&plan).expect("a tree");
                assert_eq!(report.nodes[0].hosts, hosts(&["10.0.0.1", "a.example", "localhost", "127.0.0.1", "::1"]));
            }
        }
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let dir = tempfile::tempdir().expect("a directory");
        let report = init(&InitPlan { days: 90, ca_days: 30, ..plan(&dir) }).expect("a tree");
        assert_eq!(report.not_after, report.ca_not_after);
        assert!(report.warnings.iter().any(|warning| warning.contains("after 30 days")), "{:?}", report.warnings);
    }
}
