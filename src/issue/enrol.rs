//! Certificates for new holders: another machine, or another operator, application or monitor.

use super::error::{IssueError, PlanError};
use super::folder::IssueReport;
use super::registry::Registry;
use super::{Existing, place};
use model::{Host, NodeId, Role, is_name};
use std::path::PathBuf;

/// A certificate for a machine.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The certificate directory.
    pub dir: PathBuf,
    /// Which member.
    pub node: NodeId,
    /// Its addresses; the first is the one that the others dial.
    pub hosts: Vec<Host>,
    /// How long the certificate is valid.
    pub days: u32,
    /// What to do with a folder that is there already.
    pub existing: Existing,
}

/// A certificate for a person or program.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// The certificate directory.
    pub dir: PathBuf,
    /// What it may do, and its name.
    pub role: Role,
    /// How long the certificate is valid.
    pub days: u32,
    /// What to do with a folder that is there already.
    pub existing: Existing,
}

/// Issue a member's certificate with a new key, and tells the folders of all members about its address. Fails when it
/// has another certificate already, the authority may not issue for an address, or the system refuses.
pub fn add_node(plan: &NodePlan) -> Result<IssueReport, IssueError> {
    let Some(first) = plan.hosts.first() else {
        return Err(PlanError::NoAddress(plan.node).into());
    };
    let mut registry = Registry::open(&plan.dir)?;
    let joins = !registry.peers()?.contains_key(&plan.node);
    let peers = registry.peers_with(plan.node, first)?;
    let role = Role::Node(plan.node);
    let there = if plan.existing == Existing::Refuse { registry.is_there(&role, &plan.hosts)? } else { None };
    let mut report = match there {
        Some(report) => report,
        None => {
            let issued = registry.issue(&role, &plan.hosts, plan.days, None)?;
            let bundle = registry.describe(plan.node, &peers)?;
            let backup = registry.put_folder(&role, &issued, Some(&bundle), plan.existing)?;
            IssueReport { backup, ..registry.issued_report(&role, &issued) }
        }
    };
    // Also when it was there: an earlier run may have died before it told the others.
    report.bundles = registry.tell_all(&peers)?;
    report.joins = joins;
    report.peers = Some(peers);
    Ok(report)
}

/// Issue a client's certificate with a new key. Fails when the name cannot be one, there is a certificate that is no
/// good any more, or the system refuses.
pub fn add_client(plan: &ClientPlan) -> Result<IssueReport, IssueError> {
    let (Role::Operator(name) | Role::App(name) | Role::Monitor(name)) = &plan.role else {
        return Err(PlanError::NodeAmongClients.into());
    };
    if !is_name(name) || name.contains(place::BACKUP) {
        return Err(PlanError::ClientName(name.clone()).into());
    }
    let mut registry = Registry::open(&plan.dir)?;
    if plan.existing == Existing::Refuse
        && let Some(report) = registry.is_there(&plan.role, &[])?
    {
        return Ok(report);
    }
    let issued = registry.issue(&plan.role, &[], plan.days, None)?;
    let backup = registry.put_folder(&plan.role, &issued, None, plan.existing)?;
    Ok(IssueReport { backup, ..registry.issued_report(&plan.role, &issued) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Constraints, InitPlan, Reason, init, revoke};
    use crate::{Flaw, Refusal};
    use model::Peers;
    use std::fs;
    use tempfile::TempDir;
    use trust::{ClientFiles, NodeFiles, parse_network};

    fn tree() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = dir.path().join("certs");
        let block = parse_network("127.0.0.0/8").expect("a block");
        let constraints = Constraints::Named { dns: Vec::new(), cidrs: vec![block] };
        init(&InitPlan { constraints, ..InitPlan::for_peers(&certs, &Peers::local()) }).expect("a tree");
        (dir, certs)
    }

    fn node(certs: &std::path::Path, letter: char, hosts: &[&str]) -> NodePlan {
        NodePlan {
            dir: certs.to_owned(),
            node: NodeId::from_letter(letter).expect("a letter"),
            hosts: hosts.iter().map(|host| host.parse().expect("an address")).collect(),
            days: 30,
            existing: Existing::Refuse,
        }
    }

    #[test]
    fn a_new_machine_is_complete_and_known_to_all() {
        let (_dir, certs) = tree();
        let report = add_node(&node(&certs, 'd', &["127.0.0.4", "127.0.1.4"])).expect("a certificate");
        assert!(report.issued && report.joins && report.superseded.is_empty());
        assert_eq!(report.bundles.len(), 3, "its own was right from the start");
        for id in ["node-a", "node-d"] {
            let own = NodeFiles::load(&certs, id.parse().expect("an id")).expect("files");
            assert_eq!(own.bundle.peers.host(report_id()).map(ToString::to_string).as_deref(), Some("127.0.0.4"));
        }
        let again = add_node(&node(&certs, 'd', &["127.0.0.4", "127.0.1.4"])).expect("the same");
        assert_eq!((again.issued, again.serial, again.bundles.len()), (false, report.serial, 0));
    }

    fn report_id() -> NodeId {
        NodeId::from_letter('d').expect("a letter")
    }

    #[test]
    fn addresses_decide_whether_it_is_the_same_request() {
        let (_dir, certs) = tree();
        add_node(&node(&certs, 'd', &["127.0.0.4"])).expect("a certificate");
        let moved = node(&certs, 'd', &["127.0.0.5"]);
        let refusal = add_node(&moved);
        let Err(IssueError::Refused(Refusal::OtherAddresses { present, .. })) = refusal else { panic!("{refusal:?}") };
        assert_eq!(present, "127.0.0.4");
        let key = fs::read(certs.join("node-d/node.key")).expect("a key");
        let forced = add_node(&NodePlan { existing: Existing::KeepAsBackup, ..moved }).expect("another");
        assert_eq!((forced.joins, forced.bundles.len(), forced.superseded.len()), (false, 3, 1));
        assert_eq!(fs::read(forced.backup.expect("a backup").join("node.key")).expect("a key"), key);
        assert!(NodeFiles::load(&certs, report_id()).is_ok());
    }

    #[test]
    fn what_the_authority_may_not_issue_for_and_gaps_are_refused_before_anything_is_written() {
        let (_dir, certs) = tree();
        let index = fs::read(certs.join("ca/index.jsonl")).expect("an index");
        let outside = add_node(&node(&certs, 'd', &["10.0.0.4"]));
        assert!(
            matches!(outside, Err(IssueError::Refused(Refusal::Outside { host, .. })) if host.to_string() == "10.0.0.4")
        );
        assert!(matches!(add_node(&node(&certs, 'e', &["127.0.0.5"])), Err(IssueError::Peers(_))));
        assert!(matches!(add_node(&node(&certs, 'd', &[])), Err(IssueError::Plan(_))));
        let long = NodePlan { days: 0, ..node(&certs, 'd', &["127.0.0.4"]) };
        assert!(matches!(add_node(&long), Err(IssueError::Plan(_))));
        assert_eq!(fs::read(certs.join("ca/index.jsonl")).expect("an index"), index);
        assert!(!certs.join("node-d").exists());
    }

    #[test]
    fn clients_of_every_role_are_made_once() {
        let (_dir, certs) = tree();
        for role in [Role::Operator("alice".into()), Role::App("shop".into()), Role::Monitor("prom".into())] {
            let plan = ClientPlan { dir: certs.clone(), role: role.clone(), days: 30, existing: Existing::Refuse };
            let report = add_client(&plan).expect("a certificate");
            assert_eq!(ClientFiles::load(&report.folder).expect("files").id.role, role);
            assert!(report.issued && !add_client(&plan).expect("the same").issued);
            let other = add_client(&ClientPlan { existing: Existing::KeepAsBackup, ..plan }).expect("another");
            assert_eq!(other.superseded, [report.serial]);
        }
        for name in ["", "..", "a/b", "a.bak-b"] {
            let plan =
                ClientPlan { dir: certs.clone(), role: Role::App(name.into()), days: 30, existing: Existing::Refuse };
            assert!(matches!(add_client(&plan), Err(IssueError::Plan(_))), "{name:?}");
        }
        revoke(&certs, "app-shop", Reason::Unspecified).expect("revoked");
        let plan =
            ClientPlan { dir: certs.clone(), role: Role::App("shop".into()), days: 30, existing: Existing::Refuse };
        let refusal = add_client(&plan);
        let Err(IssueError::Refused(Refusal::Unusable { name, why })) = refusal else { panic!("{refusal:?}") };
        assert_eq!((name.as_str(), why), ("app-shop", Flaw::Revoked));
    }
}
