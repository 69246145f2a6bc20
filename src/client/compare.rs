//! A comparison of what the nodes show: a row each, and one verdict.

use crate::Client;
use model::{Digest, NodeId};
use schema::{HealthSnapshot, ServedState};
use std::collections::{BTreeMap, BTreeSet};

/// One node's answers, or why there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The node.
    pub node: NodeId,
    /// Its answers, or the reason in words.
    pub answer: Result<Box<Answers>, String>,
}

/// A node's answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The state that it shows.
    pub state: ServedState,
    /// Its health; none where only the state could be read.
    pub health: Option<HealthSnapshot>,
}

/// Whether the nodes agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Verdict {
    /// All are at one version and digest, though some may be isolated and serve the stable model only.
    Synchronized { version: u64, isolated: Vec<NodeId> },
    /// Their versions differ: some are behind the newest.
    CatchingUp { newest: u64, behind: Vec<NodeId> },
    /// Nodes show different states for one version, which must never be: the newest such version, and those at it.
    Diverged { version: u64, nodes: Vec<NodeId> },
    /// Some do not answer.
    Unreachable { silent: Vec<NodeId> },
}

impl Verdict {
    /// The gravest thing that the rows show: states that contradict one another, then silence, then delay.
    pub fn of(rows: &[Row]) -> Self {
        let seen: Vec<(NodeId, u64, Digest)> = rows
            .iter()
            .filter_map(|row| row.answer.as_ref().ok().map(|seen| (row.node, seen)))
            .map(|(node, seen)| (node, seen.state.agreed.version, seen.state.agreed.digest))
            .collect();
        if let Some(diverged) = divergence(&seen) {
            return diverged;
        }
        let silent: Vec<NodeId> = rows.iter().filter(|row| row.answer.is_err()).map(|row| row.node).collect();
        if !silent.is_empty() {
            return Self::Unreachable { silent };
        }
        let newest = seen.iter().map(|(_, version, _)| *version).max().unwrap_or_default();
        let behind: Vec<NodeId> =
            seen.iter().filter(|(_, version, _)| *version < newest).map(|(node, ..)| *node).collect();
        if !behind.is_empty() {
            return Self::CatchingUp { newest, behind };
        }
        let isolated = |row: &&Row| row.answer.as_ref().is_ok_and(|seen| seen.state.isolated);
        let isolated = rows.iter().filter(isolated).map(|row| row.node).collect();
        Self::Synchronized { version: newest, isolated }
    }

    /// Its word, for people and programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Synchronized { .. } => "SYNCHRONIZED",
            Self::CatchingUp { .. } => "CATCHING UP",
            Self::Diverged { .. } => "DIVERGED",
            Self::Unreachable { .. } => "UNREACHABLE",
        }
    }

    /// The detail that it says beyond its word.
    pub fn detail(&self) -> String {
        match self {
            Self::Synchronized { version, isolated } if isolated.is_empty() => {
                format!("all nodes at version {version}")
            }
            Self::Synchronized { version, isolated } => {
                format!("all nodes at version {version}, but isolated: {}", listed(isolated))
            }
            Self::CatchingUp { newest, behind } => format!("version {newest} is not at {} yet", listed(behind)),
            Self::Diverged { version, nodes } => {
                format!("{} show different states for version {version}: stop and report this", listed(nodes))
            }
            Self::Unreachable { silent } => format!("no answer from {}", listed(silent)),
        }
    }
}

impl Client {
    /// Asks all nodes at once; one that does not answer in time is a row, too.
    pub async fn compare(&self) -> Vec<Row> {
        let nodes: Vec<NodeId> = self.peers().iter().map(|(node, _)| node).collect();
        futures_util::future::join_all(nodes.into_iter().map(|node| self.row(node))).await
    }

    async fn row(&self, node: NodeId) -> Row {
        let answer = match self.state(node).await {
            Ok(state) => Ok(Box::new(Answers { state, health: self.health(node).await.ok() })),
            Err(error) => Err(error.to_string()),
        };
        Row { node, answer }
    }
}

fn divergence(seen: &[(NodeId, u64, Digest)]) -> Option<Verdict> {
    let mut by_version: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
    for (_, version, digest) in seen {
        by_version.entry(*version).or_default().insert(*digest);
    }
    let (version, _) = by_version.into_iter().rev().find(|(_, digests)| digests.len() > 1)?;
    let nodes = seen.iter().filter(|(_, at, _)| *at == version).map(|(node, ..)| *node).collect();
    Some(Verdict::Diverged { version, nodes })
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NodeSet;
    use schema::AgreedState;
    use service::RoutingState;

    fn seen(letter: char, version: u64, digest: u8) -> Row {
        let node = NodeId::from_letter(letter).expect("a letter");
        let state = RoutingState { version, ..RoutingState::initial("v1".parse().expect("a model id")) };
        let agreed = AgreedState::of(&state, Digest([digest; 32]));
        let served = ServedState {
            serving: agreed.weights.clone(),
            agreed,
            node_id: node,
            isolated: false,
            pending: None,
            acting_coordinator: Some(NodeId::A),
            upstreams: [].into(),
            rollout: None,
            ejected: None,
        };
        Row { node, answer: Ok(Box::new(Answers { state: served, health: None })) }
    }

    fn silent(letter: char) -> Row {
        let node = NodeId::from_letter(letter).expect("a letter");
        Row { node, answer: Err("connection refused: no node runs at 10.0.0.3:50053".into()) }
    }

    #[test]
    fn all_at_one_version_and_digest_is_synchronized() {
        let verdict = Verdict::of(&[seen('a', 4, 1), seen('b', 4, 1), seen('c', 4, 1)]);
        assert_eq!(verdict, Verdict::Synchronized { version: 4, isolated: Vec::new() });
    }

    #[test]
    fn an_isolated_node_is_named_beside_the_verdict() {
        let mut rows = [seen('a', 4, 1), seen('b', 4, 1), seen('c', 4, 1)];
        if let Ok(seen) = &mut rows[1].answer {
            seen.state.isolated = true;
        }
        let verdict = Verdict::of(&rows);
        assert_eq!(verdict.detail(), "all nodes at version 4, but isolated: node-b");
        assert_eq!(verdict.word(), "SYNCHRONIZED");
    }

    #[test]
    fn versions_that_differ_are_catching_up() {
        let verdict = Verdict::of(&[seen('a', 4, 1), seen('b', 3, 2), seen('c', 4, 1)]);
        let behind = NodeSet::first(3).iter().nth(1).into_iter().collect();
        assert_eq!(verdict, Verdict::CatchingUp { newest: 4, behind });
    }

    #[test]
    fn two_digests_at_one_version_are_worse_than_silence() {
        let rows = [seen('a', 4, 1), seen('b', 4, 2), silent('c')];
        let Verdict::Diverged { version, nodes } = Verdict::of(&rows) else { panic!("{:?}", Verdict::of(&rows)) };
        assert_eq!((version, nodes.len()), (4, 2));
        let old = [seen('a', 5, 1), seen('b', 4, 1), seen('c', 4, 2)];
        assert!(matches!(Verdict::of(&old), Verdict::Diverged { version: 4, .. }));
    }

    #[test]
    fn silence_is_named() {
        let verdict = Verdict::of(&[seen('a', 4, 1), silent('b'), seen('c', 3, 2)]);
        assert_eq!(verdict.detail(), "no answer from node-b");
        assert_eq!(verdict.word(), "UNREACHABLE");
        assert!(
            matches!(Verdict::of(&[silent('a'), silent('b'), silent('c')]), Verdict::Unreachable { silent } if silent.len() == 3)
        );
    }
}
