//! Verification of a directory, folder or file: would its certificates be accepted, and for how long?
//!
//! Everything is looked at: one problem does not hide the next. Names are not looked up here; what addresses a member
//! should have is told by the caller or stands in its `bundle.json`.

use super::inspect::{Item, inspect};
use super::place::folders;
use jiff::{SignedDuration, Timestamp};
use model::{Host, NodeId, Peers, Role};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::Serialize;
use std::path::{Path, PathBuf};
use trust::file::{FileError, read_first};
use trust::files::{ClientFiles, NodeFiles, judge_chain};
use trust::keyfile::read_key;
use trust::{CaProblem, CertificateFacts, CrlFacts, TrustError, check, file, layout, svid};

/// The expectations that certificates are judged by.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The time at which they are judged.
    pub now: Timestamp,
    /// What is valid for less than this counts as expired.
    pub fail_within: SignedDuration,
    /// Whose certificates; everyone's when absent.
    pub node: Option<NodeId>,
    /// The configured addresses, if they are not those of the folders.
    pub peers: Option<Peers>,
}

/// The finding about one file.
#[derive(Debug)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What it is: an identity, or the name of an authority or list.
    pub what: String,
    /// Until when it is valid.
    pub not_after: Option<Timestamp>,
    /// The address that the others expect its holder at; those in the certificate when nothing else is known.
    pub hosts: Vec<Host>,
    /// What is wrong, if anything.
    pub problem: Option<Problem>,
}

/// The reason for which something would not be accepted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Problem {
    #[error("it expires at {0}")]
    Expires(Timestamp),
    #[error("it is to be replaced at {0}")]
    Stale(Timestamp),
    /// It cannot be read, or not be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing of a mesh is in the directory: the file that would be the first.
    #[error("{0} is missing")]
    Nothing(PathBuf),
    /// The authority is not beside it: where it was sought first.
    #[error("{0} is missing")]
    NoAuthority(PathBuf),
    /// The folder may be anyone's.
    #[error("it is not named after a member")]
    NotNamed,
    #[error("{variable} is not set, so {node} is no member")]
    NoMember { variable: String, node: NodeId },
    #[error("it is a private key: name its folder instead")]
    PrivateKey,
    #[error("there is no certificate in it")]
    NoCertificate,
}

impl Problem {
    /// The kind of the reason.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Expires(_) | Self::Stale(_) => Cause::Expiry,
            Self::Trust(TrustError::Expired { .. } | TrustError::Ca { problem: CaProblem::Expired(..), .. }) => {
                Cause::Expiry
            }
            Self::Trust(_)
            | Self::Nothing(_)
            | Self::NoAuthority(_)
            | Self::NotNamed
            | Self::NoMember { .. }
            | Self::PrivateKey
            | Self::NoCertificate => Cause::Invalid,
        }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        Self::Trust(error.into())
    }
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is expired, or will be too soon.
    Expiry,
    /// Anything else.
    Invalid,
}

/// Judge a certificate directory, the folder of one member or client, or one file. `certs_dir` is where `ca.pem` is
/// sought when it does not lie beside.
pub fn verify(path: &Path, certs_dir: &Path, expected: &Expectations) -> Vec<Finding> {
    let has = |name: &str| path.join(name).exists();
    let parent = path.parent().unwrap_or(path);
    if path.is_file() {
        return found(path, verify_file(path, certs_dir, expected));
    }
    if has(layout::NODE.0) || has(layout::BUNDLE) {
        return found(path, verify_node(path, parent, expected));
    }
    if has(layout::CLIENT.0) {
        return found(path, verify_client(path, expected));
    }
    verify_tree(path, expected)
}

/// The findings of a look at something; what it could not get past is the only one.
fn found(path: &Path, looked: Result<Vec<Finding>, Problem>) -> Vec<Finding> {
    looked.unwrap_or_else(|problem| vec![finding(path, String::new(), None, Some(problem))])
}

fn finding(path: &Path, what: String, not_after: Option<Timestamp>, problem: Option<Problem>) -> Finding {
    Finding { path: path.to_owned(), what, not_after, hosts: Vec::new(), problem }
}

fn verify_tree(dir: &Path, expected: &Expectations) -> Vec<Finding> {
    let mut findings = verify_shared(dir, expected);
    let folders = match folders(dir) {
        Ok(folders) => folders,
        Err(error) => return found(dir, Err(error.into())),
    };
    if let Some(node) = expected.node {
        let folder = dir.join(node.to_string());
        findings.extend(found(&folder, verify_node(&folder, dir, expected)));
        return findings;
    }
    for folder in folders {
        let is_node = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("node-"));
        let looked = if is_node { verify_node(&folder, dir, expected) } else { verify_client(&folder, expected) };
        findings.extend(found(&folder, looked));
    }
    if findings.is_empty() { found(dir, Err(Problem::Nothing(dir.join(layout::CA)))) } else { findings }
}

/// What lies beside the folders: the authorities, their lists and, where it belongs, the authority's key.
fn verify_shared(dir: &Path, expected: &Expectations) -> Vec<Finding> {
    let ca_path = dir.join(layout::CA);
    if !ca_path.exists() {
        return Vec::new();
    }
    let (ca, mut findings) = match read_first::<CertificateDer<'static>>(&[dir], layout::CA, "certificates", "") {
        Ok((_, ca)) => (ca.clone(), found(&ca_path, judge_authorities(&ca_path, &ca, expected))),
        Err(error) => (Vec::new(), found(&ca_path, Err(error.into()))),
    };
    let list = dir.join(layout::CRL);
    if list.exists() {
        let lists = read_first(&[dir], layout::CRL, "revocation lists", "").map_err(Problem::from);
        findings.extend(found(&list, lists.and_then(|(_, lists)| judge_lists(&list, &lists, &ca, expected))));
    }
    let key = dir.join(layout::AUTHORITY).join(layout::CA_KEY);
    if key.exists() {
        let problem = check_authority_key(&key, &ca).err().map(Problem::from);
        findings.push(finding(&key, "the authority's key".to_owned(), None, problem));
    }
    findings
}

fn judge_authorities(
    path: &Path,
    ca: &[CertificateDer<'static>],
    expected: &Expectations,
) -> Result<Vec<Finding>, Problem> {
    let all = check::authorities(path, ca, expected.now)?;
    Ok(all.iter().map(|facts| valid(path, facts, facts.subject.clone(), expected)).collect())
}

fn judge_lists(
    path: &Path,
    lists: &[CertificateRevocationListDer<'static>],
    ca: &[CertificateDer<'_>],
    expected: &Expectations,
) -> Result<Vec<Finding>, Problem> {
    let all = check::revocation_lists(path, lists, ca)?;
    Ok(all.iter().map(|facts| list_finding(path, facts, expected)).collect())
}

fn list_finding(path: &Path, facts: &CrlFacts, expected: &Expectations) -> Finding {
    let what = format!("revocation list {} of {}", facts.number.as_deref().unwrap_or("-"), facts.issuer);
    let problem = facts.next_update.filter(|until| is_due(*until, expected)).map(Problem::Stale);
    finding(path, what, facts.next_update, problem)
}

fn check_authority_key(path: &Path, ca: &[CertificateDer<'static>]) -> Result<(), TrustError> {
    let Some(pem) = read_key(path)? else { return Ok(()) };
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| file::malformed(path, "a private key", &error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // While the authority is being changed, it may be that of the older one.
    let fits = |one: &CertificateDer<'static>| {
        rustls::sign::CertifiedKey::from_der(vec![one.clone()], key.clone_key(), &provider).is_ok()
    };
    if ca.iter().any(fits) {
        return Ok(());
    }
    let certificate = path.parent().and_then(Path::parent).unwrap_or(path).join(layout::CA);
    Err(TrustError::KeyMismatch { key: path.to_owned(), certificate })
}

fn verify_node(folder: &Path, certs_dir: &Path, expected: &Expectations) -> Result<Vec<Finding>, Problem> {
    let named = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let node: NodeId = expected.node.or(named).ok_or(Problem::NotNamed)?;
    let own = NodeFiles::load_folder(folder, certs_dir, node, expected.now)?;
    let peers = expected.peers.as_ref().unwrap_or(&own.bundle.peers);
    let host = peers.host(node).cloned();
    let mut finding = valid(&own.path, &own.leaf, identity(&own.leaf), expected);
    finding.hosts = host.iter().cloned().collect();
    let accepted = match host {
        Some(host) => own.check_address(&host).and_then(|()| own.check_server()).map_err(Problem::from),
        None => Err(Problem::NoMember { variable: node.variable(), node }),
    };
    finding.problem = accepted.err().or(finding.problem);
    let lists = folder.join(layout::CRL);
    let lists = lists.exists().then(|| own.crl_facts.iter().map(|facts| list_finding(&lists, facts, expected)));
    let lists = lists.into_iter().flatten().filter(|finding| finding.problem.is_some());
    Ok(std::iter::once(finding).chain(lists).collect())
}

/// Beside what its owner needs of it, whether the nodes let it in: it may be revoked.
fn verify_client(folder: &Path, expected: &Expectations) -> Result<Vec<Finding>, Problem> {
    let path = folder.join(layout::CLIENT.0);
    let parent = folder.parent().unwrap_or(folder);
    let own = ClientFiles::load_at(folder, expected.now)?;
    let lists = lists_in(&[folder, parent])?;
    let facts = judge_chain(&path, &own.chain, (&parent.join(layout::CA), &own.ca), &lists, expected.now)?;
    Ok(vec![valid(&path, &facts, identity(&facts), expected)])
}

/// The revocation lists in the first of some places that has any; none when none has.
fn lists_in(places: &[&Path]) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    match read_first(places, layout::CRL, "revocation lists", "") {
        Ok((_, lists)) => Ok(lists),
        Err(FileError::Missing { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn verify_file(path: &Path, certs_dir: &Path, expected: &Expectations) -> Result<Vec<Finding>, Problem> {
    let items = inspect(path)?;
    let folder = path.parent().unwrap_or(path);
    let places = [folder, folder.parent().unwrap_or(folder), certs_dir];
    let (ca_path, ca) = match read_first::<CertificateDer<'static>>(&places, layout::CA, "certificates", "") {
        Err(FileError::Missing { path: sought, .. }) => return Err(Problem::NoAuthority(sought)),
        read => read?,
    };
    match items.first() {
        Some(Item::Certificate(facts, _)) if facts.is_ca => judge_authorities(path, &read_all(path)?, expected),
        Some(Item::Certificate(..)) => verify_certificate(path, (&ca_path, &ca), &places, expected),
        Some(Item::RevocationList(_)) => judge_lists(path, &read_all(path)?, &ca, expected),
        Some(Item::PrivateKey) => Err(Problem::PrivateKey),
        Some(Item::Other(_)) | None => Err(Problem::NoCertificate),
    }
}

fn verify_certificate(
    path: &Path,
    ca: (&Path, &[CertificateDer<'static>]),
    places: &[&Path],
    expected: &Expectations,
) -> Result<Vec<Finding>, Problem> {
    let chain: Vec<CertificateDer<'static>> = read_all(path)?;
    check::authorities(ca.0, ca.1, expected.now)?;
    let lists = lists_in(places)?;
    let facts = judge_chain(path, &chain, ca, &lists, expected.now)?;
    let id = chain.first().map_or(Err(trust::SvidError::Malformed), svid::identity).map_err(TrustError::svid(path))?;
    if let Some(node) = expected.node.map(Role::Node).filter(|node| id.role != *node) {
        return Err(TrustError::identity(path, &id.role, &node).into());
    }
    let mut finding = valid(path, &facts, identity(&facts), expected);
    let configured = expected.node.zip(expected.peers.as_ref()).and_then(|(node, peers)| peers.host(node));
    finding.hosts = configured.map_or(facts.hosts, |host| vec![host.clone()]);
    Ok(vec![finding])
}

fn read_all<T: PemObject>(path: &Path) -> Result<Vec<T>, FileError> {
    let pem = trust::file::read(path)?.unwrap_or_default();
    T::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| file::malformed(path, "PEM", &error.to_string()))
}

fn identity(facts: &CertificateFacts) -> String {
    facts.spiffe_id.clone().unwrap_or_else(|| facts.subject.clone())
}

fn valid(path: &Path, facts: &CertificateFacts, what: String, expected: &Expectations) -> Finding {
    let problem = is_due(facts.not_after, expected).then_some(Problem::Expires(facts.not_after));
    finding(path, what, Some(facts.not_after), problem)
}

fn is_due(until: Timestamp, expected: &Expectations) -> bool {
    until.duration_since(expected.now) < expected.fail_within
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{other_tree, tree};

    use std::fs;

    fn expected() -> Expectations {
        Expectations { now: Timestamp::now(), fail_within: SignedDuration::ZERO, node: None, peers: None }
    }

    fn problems(path: &Path, certs: &Path, expected: &Expectations) -> Vec<(PathBuf, Problem)> {
        let findings = verify(path, certs, expected).into_iter();
        findings.filter_map(|finding| Some((finding.path, finding.problem?))).collect()
    }

    #[test]
    fn a_new_tree_has_no_problems_in_whole_or_in_part() {
        let (_dir, certs) = tree();
        for part in
            ["", "node-a", "operator-admin", "ca.pem", "crl.pem", "node-b/node.pem", "operator-admin/client.pem"]
        {
            let found = problems(&certs.join(part), &certs, &expected());
            assert!(found.is_empty(), "{part:?}: {found:?}");
        }
        let whole = verify(&certs, &certs, &expected());
        assert_eq!(whole.len(), 7, "authority, list, authority's key, three members and an operator: {whole:#?}");
    }

    #[test]
    fn one_problem_does_not_hide_the_next() {
        let (_dir, certs) = tree();
        fs::remove_file(certs.join("node-a/node.key")).expect("there");
        fs::write(certs.join("operator-admin/client.pem"), "").expect("writable");
        fs::write(certs.join("crl.pem"), "").expect("writable");
        let found = problems(&certs, &certs, &expected());
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().all(|(_, problem)| problem.cause() == Cause::Invalid));
    }

    #[test]
    fn expiry_is_told_from_other_problems() {
        let (_dir, certs) = tree();
        let soon = Expectations { fail_within: SignedDuration::from_hours(91 * 24), ..expected() };
        let found = problems(&certs, &certs, &soon);
        // The authority lives for ten years; its list, three members, their lists and an operator do not.
        assert_eq!(found.len(), 8, "{found:#?}");
        assert!(found.iter().all(|(_, problem)| problem.cause() == Cause::Expiry));
        let late = Expectations { now: Timestamp::now() + SignedDuration::from_hours(91 * 24), ..expected() };
        assert!(problems(&certs, &certs, &late).iter().all(|(_, problem)| problem.cause() == Cause::Expiry));
        let end = Expectations { now: Timestamp::now() + SignedDuration::from_hours(3651 * 24), ..expected() };
        assert!(
            problems(&certs, &certs, &end)
                .iter()
                .any(|(path, problem)| { path.ends_with("certs/ca.pem") && problem.cause() == Cause::Expiry })
        );
    }

    #[test]
    fn a_member_is_judged_by_its_configured_address() {
        let (_dir, certs) = tree();
        let hosts = ["127.0.0.1", "10.0.0.2", "127.0.0.1"].map(|host| host.parse::<Host>().expect("an address"));
        let peers = Peers::new(model::NodeSet::first(3).iter().zip(hosts)).expect("a mesh");
        let moved = Expectations { peers: Some(peers), ..expected() };
        let found = problems(&certs, &certs, &moved);
        let [(_, problem)] = found.as_slice() else { panic!("{found:#?}") };
        assert!(problem.to_string().contains("PEERS_NODE_B=10.0.0.2 contradicts"), "{problem}");
    }

    #[test]
    fn as_asks_for_one_member_alone() {
        let (_dir, certs) = tree();
        let b = Expectations { node: "node-b".parse().ok(), ..expected() };
        fs::remove_dir_all(certs.join("node-a")).expect("there");
        assert!(problems(&certs, &certs, &b).is_empty());
        assert!(problems(&certs.join("node-b/node.pem"), &certs, &b).is_empty());
        for other in ["node-c", "node-c/node.pem", "operator-admin/client.pem"] {
            let found = problems(&certs.join(other), &certs, &b);
            assert!(
                matches!(found.as_slice(), [(_, problem)] if problem.to_string().contains("not to node")),
                "{found:#?}"
            );
        }
        fs::remove_dir_all(certs.join("node-b")).expect("there");
        assert!(problems(&certs, &certs, &b)[0].1.to_string().contains("is missing"));
    }

    #[test]
    fn a_certificate_of_another_cluster_is_refused() {
        let ((_one, certs), (_two, other)) = (tree(), other_tree());
        let elsewhere = tempfile::tempdir().expect("a directory");
        let alone = elsewhere.path().join("alone.pem");
        fs::copy(other.join("node-a/node.pem"), &alone).expect("both are there");
        let found = problems(&alone, &certs, &expected());
        assert!(
            matches!(found.as_slice(), [(_, problem)] if problem.to_string().contains("UnknownIssuer")),
            "{found:#?}"
        );
    }

    #[test]
    fn what_holds_no_certificate_is_a_problem() {
        let (dir, certs) = tree();
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).expect("made");
        for path in [&empty, &dir.path().join("none"), &certs.join("node-a/node.key"), &certs.join("ca/crlnumber")] {
            assert_eq!(problems(path, &certs, &expected()).len(), 1, "{path:?}");
        }
    }
}
