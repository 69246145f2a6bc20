//! The plan of a new cluster's certificates, checked before anything is written.

use super::error::{IssueError, PlanError};
use super::period::{MAX_CA_DAYS, MAX_DAYS};
use super::profile::Permitted;
use super::{KeyAlgorithm, place};
use ipnet::IpNet;
use model::{Host, NodeId, Peers, is_name, is_trust_domain};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The most addresses of one node: each is a name in its certificate and in the authority's constraints.
pub(super) const MAX_HOSTS: usize = 32;

/// The certificates of a new cluster. [`InitPlan::new`] fills in the defaults.
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
    /// The treatment of certificates that are there already.
    pub existing: Existing,
    /// An authority of one's own, instead of a new one.
    pub authority: Option<OwnAuthority>,
}

/// The files of an authority that was made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAuthority {
    /// Its certificate, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// The names and addresses that the new authority may issue for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Constraints {
    /// The configured addresses, these domains with all names below them, and these address blocks.
    Named { dns: Vec<String>, cidrs: Vec<IpNet> },
    /// Everything.
    Unlimited,
}

/// The place of `localhost`, 127.0.0.1 and `::1`: in every member's certificate, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevNames {
    /// They do not.
    LeftOut,
    /// They do.
    Included,
}

/// The treatment of certificates that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fail and touch nothing.
    Refuse,
    /// Rename them to `*.bak-<time>`.
    KeepAsBackup,
}

impl InitPlan {
    /// A plan with the defaults: 90 days, ten years for the authority, P-256, an operator called `admin`.
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
            authority: None,
        }
    }

    /// A plan for members with one address each.
    pub fn for_peers(dir: impl Into<PathBuf>, peers: &Peers) -> Self {
        Self::new(dir, peers.iter().map(|(id, host)| (id, vec![host.clone()])).collect())
    }

    /// The first address of each member, which is where the others dial it.
    pub(super) fn peers(&self) -> Result<Peers, IssueError> {
        let mut first = Vec::new();
        for (id, hosts) in &self.nodes {
            let Some(host) = hosts.first() else { return Err(PlanError::Unaddressed(*id).into()) };
            if hosts.len() > MAX_HOSTS {
                return Err(PlanError::TooManyAddresses(*id, hosts.len(), MAX_HOSTS).into());
            }
            first.push((*id, host.clone()));
        }
        Ok(Peers::new(first)?)
    }

    pub(super) fn check(&self) -> Result<(), PlanError> {
        if let Some(domain) = self.trust_domain.as_ref().filter(|domain| !is_trust_domain(domain)) {
            return Err(PlanError::TrustDomain(domain.clone()));
        }
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(PlanError::Days(self.days));
        }
        if !(1..=MAX_CA_DAYS).contains(&self.ca_days) {
            return Err(PlanError::AuthorityDays(self.ca_days));
        }
        if !is_name(&self.operator) || self.operator.contains(place::BACKUP) {
            return Err(PlanError::OperatorName(self.operator.clone()));
        }
        if let Constraints::Named { dns, .. } = &self.constraints {
            domains(dns)?;
        }
        Ok(())
    }

    /// All addresses of a member's certificate, each once, in the order they were given.
    pub(super) fn hosts(&self, node: NodeId) -> Vec<Host> {
        let loopback = match self.dev {
            DevNames::LeftOut => Vec::new(),
            DevNames::Included => vec![
                Host::Name("localhost".to_owned()),
                Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Host::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
        };
        each_once(self.nodes.get(&node).into_iter().flatten().chain(&loopback).cloned())
    }

    pub(super) fn operator_folder(&self) -> String {
        format!("operator-{}", self.operator)
    }

    /// The configured addresses, the members' names, and what is permitted beyond them. Where a certificate has addresses
    /// only, GnuTLS holds its common name, `node-a`, against the permitted host names.
    pub(super) fn permitted(&self) -> Option<Permitted> {
        let Constraints::Named { dns, cidrs } = &self.constraints else { return None };
        let mut names: BTreeSet<String> = self.nodes.keys().map(NodeId::to_string).collect();
        let mut blocks = BTreeSet::new();
        for host in self.nodes.keys().flat_map(|node| self.hosts(*node)) {
            match host {
                Host::Ip(address) => blocks.insert(IpNet::from(address)),
                Host::Name(name) => names.insert(name),
            };
        }
        names.extend(domains(dns).unwrap_or_default());
        blocks.extend(cidrs.iter().copied());
        Some(Permitted { names, blocks })
    }
}

/// Domains as they stand in a constraint; people also write them with a leading dot.
pub(super) fn domains(names: &[String]) -> Result<Vec<String>, PlanError> {
    let domain = |name: &String| {
        let text = name.trim();
        match text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase() {
            domain if matches!(domain.parse(), Ok(Host::Name(_))) => Ok(domain),
            _ => Err(PlanError::Domain(name.clone())),
        }
    };
    names.iter().map(domain).collect()
}

/// All these addresses in their order, each once.
pub fn each_once(hosts: impl IntoIterator<Item = Host>) -> Vec<Host> {
    let mut all: Vec<Host> = Vec::new();
    for host in hosts {
        if !all.contains(&host) {
            all.push(host);
        }
    }
    all
}
