//! Whether the statements on file prove that a state was agreed.

use model::{Actor, Ballot, Digest, NodeId, NodeSet, Said, Signed, TxId};
use service::{Direction, RoutingState};
use std::collections::BTreeMap;

/// One decision, and what is missing of its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The version decided.
    pub version: u64,
    /// The transaction.
    pub txid: TxId,
    /// The digest of the state.
    pub digest: Digest,
    /// Whether it needed every vote.
    pub direction: Direction,
    /// Who asked for it.
    pub by: Option<Actor>,
    /// Whose records have it.
    pub known_to: NodeSet,
    /// Whose acceptance is on file, under the ballot that has the most.
    pub accepted: NodeSet,
    /// Whose COMMIT vote is on file.
    pub voted: NodeSet,
    /// What the proof lacks; it is complete when this is empty.
    pub missing: Vec<String>,
}

/// Who accepted a state under one ballot, and who the members are by its word.
type Acceptances = Vec<(NodeId, NodeSet)>;

/// Everything on file whose signature is right.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    votes: BTreeMap<(TxId, Digest), BTreeMap<NodeId, Option<String>>>,
    accepted: BTreeMap<(TxId, Digest), BTreeMap<Ballot, Acceptances>>,
    decided: BTreeMap<(u64, Digest), Learned>,
}

/// A decision as records have it.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) by: Option<Actor>,
    pub(super) state: Box<RoutingState>,
    pub(super) has_votes: bool,
    /// Whose records have it.
    pub(super) known_to: NodeSet,
}

impl Evidence {
    /// Adds a statement whose signature is right.
    pub(super) fn add(&mut self, signed: &Signed) {
        let node = signed.statement.node;
        match &signed.statement.said {
            Said::Vote { txid, digest, against, .. } => {
                let vote = self.votes.entry((*txid, *digest)).or_default().entry(node).or_default();
                // Who once voted against it did not agree, whatever it said besides.
                *vote = vote.take().or_else(|| against.clone());
            }
            Said::Accepted { ballot, txid, digest, members, .. } => {
                let under = self.accepted.entry((*txid, *digest)).or_default().entry(*ballot).or_default();
                under.push((node, *members));
            }
            // What a member has learned proves nothing to others.
            Said::Decided { .. } => {}
        }
    }

    /// Adds a decision as the record of `node` has it.
    pub(super) fn add_decision(&mut self, node: NodeId, learned: Learned) {
        let place = (learned.state.version, learned.state.digest());
        self.decided.entry(place).or_insert(learned).known_to.insert(node);
    }

    /// Versions at which the records have different states.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let pairs = self.decided.iter().zip(self.decided.iter().skip(1));
        let apart = pairs.filter(|(((version, _), _), ((next, _), _))| version == next);
        apart
            .map(|(((version, one), left), ((_, other), right))| {
                let (left, right) = (left.known_to, right.known_to);
                format!("version {version} has two states: {one} in the record of {left}, {other} in that of {right}")
            })
            .collect()
    }

    /// All decisions, in order of their versions.
    pub(super) fn decisions(&self) -> Vec<Decision> {
        self.decided
            .iter()
            .filter_map(|((version, digest), learned)| self.decision(*version, *digest, learned))
            .collect()
    }

    fn decision(&self, version: u64, digest: Digest, learned: &Learned) -> Option<Decision> {
        let Learned { by, state, has_votes, known_to } = learned;
        let txid = state.txid?;
        let before = state.chain.last().and_then(|link| self.decided.get(&(link.version, link.digest)));
        let direction = match before {
            Some(before) => before.state.direction_to(state),
            None if *has_votes => Direction::Advance,
            None => Direction::Retreat,
        };
        let mut missing = Vec::new();
        let (accepted, members) = self.acceptance(txid, digest);
        match members {
            None => missing.push("any acceptance".to_owned()),
            Some(members) if accepted.len() < members.majority() => {
                let (found, of, needed) = (accepted, members.len(), members.majority());
                missing.push(format!(
                    "acceptances of a majority: {needed} of {of} are needed under one ballot, on file is {found}"
                ));
            }
            Some(_) => {}
        }
        let none = BTreeMap::new();
        let votes = self.votes.get(&(txid, digest)).unwrap_or(&none);
        let voted = votes.iter().filter(|(_, against)| against.is_none()).map(|(node, _)| *node).collect();
        if let (Direction::Advance, Some(members)) = (direction, members) {
            for voter in members.minus(state.drained).iter() {
                match votes.get(&voter) {
                    Some(None) => {}
                    Some(Some(against)) => missing.push(format!("the vote of {voter}, which is ABORT: {against}")),
                    None => missing.push(format!("the vote of {voter}")),
                }
            }
        }
        let (by, known_to) = (by.clone(), *known_to);
        Some(Decision { version, txid, digest, direction, by, known_to, accepted, voted, missing })
    }

    /// Who accepted the state under the ballot that most accepted it under, and who the members are by their word.
    fn acceptance(&self, txid: TxId, digest: Digest) -> (NodeSet, Option<NodeSet>) {
        let mut best = (NodeSet::EMPTY, None);
        for by in self.accepted.get(&(txid, digest)).into_iter().flat_map(BTreeMap::values) {
            for (_, members) in by {
                // Only those count who name the same members, and belong to them.
                let agreeing = by.iter().filter(|(node, others)| others == members && members.contains(*node));
                let agreeing: NodeSet = agreeing.map(|(node, _)| *node).collect();
                if best.1.is_none() || agreeing.len() > best.0.len() {
                    best = (agreeing, Some(*members));
                }
            }
        }
        best
    }
}
