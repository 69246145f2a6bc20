//! A mesh followed by long polls of every node.

use crate::{Answers, Client, Polled, Row};
use model::NodeId;
use schema::ServedState;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long one poll waits. What was measured changes without a new state, so a row comes at least this often.
const WAIT: Duration = Duration::from_secs(5);
/// Between two attempts to reach a node that does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Rows that may wait to be looked at; then the polls wait.
const BACKLOG: usize = 64;

/// The rows of a mesh as they change. Dropped, the polls end.
pub struct Followers {
    news: mpsc::Receiver<Row>,
    polls: JoinSet<()>,
}

impl Followers {
    /// The next row: whenever a poll of a node has ended, with news or without.
    pub async fn next(&mut self) -> Option<Row> {
        self.news.recv().await
    }

    /// Ends the polls and waits until they have.
    pub async fn stop(mut self) {
        self.polls.shutdown().await;
    }
}

impl Client {
    /// Begins to follow all nodes.
    #[must_use]
    pub fn follow(&self) -> Followers {
        let (sender, news) = mpsc::channel(BACKLOG);
        let mut polls = JoinSet::new();
        for (node, _) in self.peers().iter() {
            polls.spawn(follow(self.clone(), node, sender.clone()));
        }
        Followers { news, polls }
    }
}

/// Sends a row whenever a poll of `node` ends.
async fn follow(client: Client, node: NodeId, news: mpsc::Sender<Row>) {
    let mut known: Option<(Box<ServedState>, String)> = None;
    loop {
        let tag = known.as_ref().map(|(_, tag)| tag.as_str());
        let answer = match client.poll(node, tag, WAIT).await {
            Ok(Polled::State(state, tag)) => {
                known = Some((state, tag));
                Ok(())
            }
            Ok(Polled::Unchanged) => Ok(()),
            Err(error) => {
                known = None;
                Err(error.to_string())
            }
        };
        let failed = answer.is_err();
        let answer = match (&known, answer) {
            (Some((state, _)), Ok(())) => {
                let health = client.health(node).await.ok();
                Ok(Box::new(Answers { state: (**state).clone(), health }))
            }
            (None, Ok(())) => Err("it answered a poll for nothing".into()),
            (_, Err(reason)) => Err(reason),
        };
        if news.send(Row { node, answer }).await.is_err() {
            return;
        }
        if failed {
            tokio::time::sleep(RETRY).await;
        }
    }
}
