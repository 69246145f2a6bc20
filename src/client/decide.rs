//! Failover: a change is asked of one node after the other until one takes it, and a document is read from the first that
//! answers.

use crate::{ChangeFailure, Client, ClientError, Told};
use http::StatusCode;
use model::NodeId;
use schema::Document;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long after a coordinator's death another one is there: it is noticed within 5 s of its last word.
const TAKEOVER: Duration = Duration::from_secs(7);
/// How often it is looked whether one is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The reason for which no node took a change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Undecided {
    /// It was sent to none.
    #[error(transparent)]
    NotSent(#[from] Silent),
    /// It was sent, and may have been decided.
    #[error("{node} took the request and gave no answer: {error}")]
    Unknown { node: NodeId, error: ClientError },
}

/// The nodes that could not be asked, each with its reason.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("no node can be asked:{}", .0.iter().map(|(node, error)| format!("\n  {node}: {error}")).collect::<String>())]
pub struct Silent(Vec<(NodeId, ClientError)>);

/// What came of asking every node once.
enum Round {
    Told(Told),
    /// None could take the change, and it was sent to none.
    Nobody {
        silent: Silent,
        /// One of them, to which another one had sent the request on.
        gone: Option<NodeId>,
    },
}

impl Client {
    /// Asks the nodes in order, beginning with the usual coordinator, until one takes the change or none is to be expected
    /// to: while others say that a node coordinates which cannot be reached, one of them soon will. `on_wait` is told of
    /// that node, once. An error tells whether the change may have been made.
    pub async fn decide(
        &self,
        path: &str,
        body: &impl Serialize,
        on_wait: impl FnOnce(NodeId),
    ) -> Result<Told, Undecided> {
        let until = Instant::now() + TAKEOVER;
        let mut on_wait = Some(on_wait);
        loop {
            match self.ask_each(path, body).await? {
                Round::Told(told) => return Ok(told),
                Round::Nobody { gone: Some(gone), .. } if Instant::now() < until => {
                    if let Some(on_wait) = on_wait.take() {
                        on_wait(gone);
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Round::Nobody { silent, .. } => return Err(silent.into()),
            }
        }
    }

    /// A node that is dead, or in touch with no majority, does not have the last word while there are others.
    async fn ask_each(&self, path: &str, body: &impl Serialize) -> Result<Round, Undecided> {
        let (mut silent, mut gone, mut powerless) = (Vec::new(), None, None);
        for (asked, _) in self.peers().iter() {
            match self.change(asked, path, body).await {
                Ok(told) if told.status == StatusCode::SERVICE_UNAVAILABLE => powerless = Some(told),
                Ok(told) => return Ok(Round::Told(told)),
                Err(ChangeFailure::NotSent { node, error }) => {
                    gone = gone.or_else(|| (node != asked).then_some(node));
                    silent.push((node, error));
                }
                Err(ChangeFailure::Unknown { node, error }) => return Err(Undecided::Unknown { node, error }),
            }
        }
        Ok(powerless.map_or(Round::Nobody { silent: Silent(silent), gone }, Round::Told))
    }

    /// The document of the first node, in id order, that answers. Fails when none does.
    pub async fn first<T: Document>(&self, path: &str) -> Result<(NodeId, T), Silent> {
        self.first_of(self.peers().iter().map(|(node, _)| node), path).await
    }

    /// The document of the first of `nodes` that answers. Fails when none does.
    pub async fn first_of<T: Document>(
        &self,
        nodes: impl Iterator<Item = NodeId>,
        path: &str,
    ) -> Result<(NodeId, T), Silent> {
        let mut silent = Vec::new();
        for node in nodes {
            match self.read(node, path).await {
                Ok(document) => return Ok((node, document)),
                Err(error) => silent.push((node, error)),
            }
        }
        Err(Silent(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_silent_node_has_a_line_with_its_reason() {
        let silent = Silent(vec![(NodeId::A, ClientError::Circles), (NodeId::A, ClientError::Connection("x".into()))]);
        let undecided = Undecided::from(silent);
        let expected =
            "no node can be asked:\n  node-a: the nodes do not agree on who coordinates: try again\n  node-a: x";
        assert_eq!(undecided.to_string(), expected);
    }
}
