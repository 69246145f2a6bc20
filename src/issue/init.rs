//! All certificates of a new cluster, made together or not at all.
//!
//! The tree is built and checked in a directory of its own within the target and moved into place at the end. A run
//! that dies before that leaves nothing that counts; one that dies between the first move and the last is noticed by
//! the next run.

use super::authority::{Authority, Issued};
use super::error::IssueError;
use super::period::Period;
use super::place::{Building, Directory, Found, make_directory, random_word};
use super::plan::{Constraints, DevNames, Existing, InitPlan};
use super::tree::{FIRST_LIST, Tree};
use super::{disk, own};
use jiff::Timestamp;
use model::{Host, NodeId, NodeSet, Peers, Role, SpiffeId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use trust::files::{Bundle, ClientFiles, NodeFiles};
use trust::{TrustError, check, facts, layout};

/// The certificates of a new cluster.
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
    /// What the caller should know; how it is said is for whoever shows the report.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// Something about a new tree that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Warning {
    /// Others can replace what is in the certificate directory, by its mode.
    Replaceable { dir: PathBuf, mode: u32 },
    /// These members share an address.
    SharedAddress(NodeSet),
    /// Some members, but not all, have a loopback address.
    Loopback,
    /// Certificates end with an authority that was made elsewhere.
    EndsWithAuthority(Timestamp),
    /// Certificates end with the new authority, after so many days.
    EndsAfterDays(u32),
    /// Every member can answer as the machine that it is on.
    DevNames,
    /// The authority can issue for any name.
    Unconstrained,
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

/// Make the authority, a certificate for each member, one operator and an empty revocation list.
///
/// The result has been read back and checked as the members and rustls will. Fails when the plan is wrong, certificates
/// are there already, or the system refuses. Then nothing has been made, unless the error says otherwise.
pub fn init(plan: &InitPlan) -> Result<InitReport, IssueError> {
    plan.check()?;
    let peers = plan.peers()?;
    let directory = make_directory(&plan.dir)?;
    let outcome = init_in(plan, &peers);
    if outcome.is_err() && directory == Directory::Made {
        // Only an empty directory goes; if it stays, it stays empty of certificates.
        let _ = fs::remove_dir(&plan.dir);
    }
    outcome
}

fn init_in(plan: &InitPlan, peers: &Peers) -> Result<InitReport, IssueError> {
    let _lock = disk::lock(&plan.dir)?;
    let found = Found::in_directory(&plan.dir)?;
    found.clear_unfinished()?;
    if plan.existing == Existing::Refuse {
        found.must_be_empty(&plan.dir)?;
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let building = Building::start(&plan.dir)?;
    let made = build(plan, peers, &building.path, now)?;
    check_tree(plan, &building.path, now)?;
    let backups = building.move_into_place(&plan.dir, &found, now)?;
    Ok(report(plan, peers, made, backups))
}

/// The facts of a new tree that its report needs.
struct Made {
    trust_domain: String,
    ca: facts::CertificateFacts,
    nodes: BTreeMap<NodeId, facts::CertificateFacts>,
    operator: facts::CertificateFacts,
}

fn build(plan: &InitPlan, peers: &Peers, root: &Path, now: Timestamp) -> Result<Made, IssueError> {
    let trust_domain = match &plan.trust_domain {
        Some(domain) => domain.clone(),
        None => format!("c-{}.canary", random_word()?),
    };
    let (authority, ca) = authority(plan, now)?;
    let certificates = Period::of_days(plan.days, now);
    let list = authority.list(FIRST_LIST, certificates, &[])?;
    let tree = Tree { root, ca: &ca.certificate, list: &list };
    let ca_facts = ca.said();
    let mut index = vec![ca.entry.clone()];

    let mut nodes = BTreeMap::new();
    for (node, _) in peers.iter() {
        let id = SpiffeId { trust_domain: trust_domain.clone(), role: Role::Node(node) };
        let issued = authority.issue(&id, &plan.hosts(node), None, certificates, now)?;
        let bundle = Bundle {
            id: node,
            trust_domain: trust_domain.clone(),
            peers: peers.clone(),
            ca_sha256: ca_facts.sha256.clone(),
        };
        tree.write_node(&issued, &bundle)?;
        nodes.insert(node, issued.said());
        index.push(issued.entry);
    }
    let id = SpiffeId { trust_domain: trust_domain.clone(), role: Role::Operator(plan.operator.clone()) };
    let operator = authority.issue(&id, &[], None, certificates, now)?;
    tree.write_client(&plan.operator_folder(), &operator)?;
    let operator_facts = operator.said();
    index.push(operator.entry);
    tree.write_authority(&ca, &index)?;
    Ok(Made { trust_domain, ca: ca_facts, nodes, operator: operator_facts })
}

/// The authority that was given, or a new one.
fn authority(plan: &InitPlan, now: Timestamp) -> Result<(Authority, Issued), IssueError> {
    let Some(own) = &plan.authority else {
        let period = Period::of_days(plan.ca_days, now);
        return Authority::create(plan.key_algorithm, period, plan.permitted().as_ref(), now);
    };
    let hosts: Vec<Host> = plan.nodes.keys().flat_map(|node| plan.hosts(*node)).collect();
    own::read(own, plan.key_algorithm, &hosts, now)
}

/// Reads the new tree as its users will, and asks rustls about every address.
fn check_tree(plan: &InitPlan, root: &Path, now: Timestamp) -> Result<(), IssueError> {
    for (node, hosts) in &plan.nodes {
        let own = NodeFiles::load_at(root, *node, now)?;
        hosts.iter().try_for_each(|host| own.check_address(host))?;
        let refused = |detail| TrustError::Chain { path: own.path.clone(), authority: root.join(layout::CA), detail };
        let judge = check::Judge::new(&own.ca, &own.crls, now);
        judge.and_then(|judge| judge.accepts_server(&own.chain, &plan.hosts(*node))).map_err(refused)?;
    }
    ClientFiles::load_at(&root.join(plan.operator_folder()), now)?;
    Ok(())
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
        operator: plan.dir.join(plan.operator_folder()),
        not_after: made.operator.not_after,
        backups,
        warnings: warnings(plan, peers, made.ca.not_after, made.operator.not_after),
    }
}

fn warnings(plan: &InitPlan, peers: &Peers, ca_until: Timestamp, until: Timestamp) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mode = fs::metadata(&plan.dir).map_or(0, |facts| facts.mode() & 0o7777);
    if mode & 0o022 != 0 {
        warnings.push(Warning::Replaceable { dir: plan.dir.clone(), mode });
    }
    let sharing = peers.sharing();
    if !sharing.is_empty() {
        warnings.push(Warning::SharedAddress(sharing));
    }
    let loopback = peers.iter().filter(|(_, host)| host.is_loopback()).count();
    if loopback > 0 && loopback < peers.members().len() {
        warnings.push(Warning::Loopback);
    }
    if until == ca_until && plan.authority.is_some() {
        warnings.push(Warning::EndsWithAuthority(ca_until));
    } else if until == ca_until && plan.days > plan.ca_days {
        warnings.push(Warning::EndsAfterDays(plan.ca_days));
    }
    if plan.dev == DevNames::Included {
        warnings.push(Warning::DevNames);
    }
    if plan.constraints == Constraints::Unlimited && plan.authority.is_none() {
        warnings.push(Warning::Unconstrained);
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::KeyAlgorithm;
    use super::super::index::IndexEntry;
    use super::super::period::{MAX_CA_DAYS, MAX_DAYS};
    use super::*;
    use std::collections::BTreeSet;
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
            .map(|line| serde_json::from_str::<IndexEntry>(line).expect("an entry"))
            .map(|entry| serde_json::to_value(entry).expect("JSON")["serial"].to_string())
            .collect();
        assert_eq!(serials.len(), 5, "the authority, three members and an operator, each with its own serial");
    }

    #[test]
    fn a_second_run_changes_nothing_unless_told_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = init(&plan(&dir)).expect("a tree");
        let ca = fs::read(first.dir.join("ca.pem")).expect("readable");
        assert!(matches!(init(&plan(&dir)), Err(IssueError::Exists { .. })));
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
        assert!(matches!(init(&plan(&dir)), Err(IssueError::Interrupted { .. })));
        init(&InitPlan { existing: Existing::KeepAsBackup, ..plan(&dir) }).expect("a new tree");
        assert!(!names(&certs).iter().any(|name| name.starts_with('.')));
        // Died when all was in place.
        fs::create_dir_all(certs.join(".moving-00c0ffee")).expect("made");
        assert!(matches!(init(&plan(&dir)), Err(IssueError::Exists { .. })));
        assert!(!names(&certs).iter().any(|name| name.starts_with('.')));
        assert!(NodeFiles::load(&certs, NodeId::A).is_ok());
    }

    #[test]
    fn a_failed_run_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = dir.path().join("certs");
        fs::create_dir(&certs).expect("made");
        let held = disk::lock(&certs).expect("free");
        assert!(matches!(init(&plan(&dir)), Err(IssueError::Busy { .. })));
        drop(held);
        assert_eq!(names(&certs), [""; 0]);
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(matches!(init(&InitPlan { dir: file, ..plan(&dir) }), Err(IssueError::NotADirectory(_))));
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
            assert!(matches!(init(&plan), Err(IssueError::Plan(_) | IssueError::Peers(_))), "{plan:?}");
        }
        assert!(!good.dir.exists());
    }

    #[test]
    fn every_kind_of_key_and_address_makes_a_tree_that_is_accepted() {
        let hosts = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<Host>>();
        let nodes: BTreeMap<NodeId, Vec<Host>> = model::NodeSet::first(3)
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
        assert!(report.warnings.contains(&Warning::EndsAfterDays(30)), "{:?}", report.warnings);
    }
}
