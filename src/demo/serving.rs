//! Looks at what each node serves, as fast as that can be asked, while a canary is taken back.

use super::error::DemoError;
use super::models::Model;
use client::Client;
use model::NodeId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two looks at one node: short against the tenths of a second that a rollback takes.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Someone who looks at all nodes.
pub(super) struct Lookout {
    looking: JoinSet<Result<(NodeId, Option<Instant>), DemoError>>,
    enough: watch::Sender<bool>,
}

impl Lookout {
    /// Begins to look at what `members` give `canary`.
    pub(super) fn begin(client: &Client, members: &[NodeId], canary: Model) -> Self {
        let (enough, watched) = watch::channel(false);
        let mut looking = JoinSet::new();
        for node in members {
            looking.spawn(look(client.clone(), *node, canary, watched.clone()));
        }
        Self { looking, enough }
    }

    /// For each node, when it was seen for the first time that it had stopped serving the canary. A node that never served
    /// it, or still does, is missing.
    pub(super) async fn end(mut self) -> Result<BTreeMap<NodeId, Instant>, DemoError> {
        self.enough.send_replace(true);
        let mut stopped = BTreeMap::new();
        while let Some(looked) = self.looking.join_next().await {
            let (node, at) = looked.map_err(DemoError::failed)??;
            stopped.extend(at.map(|at| (node, at)));
        }
        Ok(stopped)
    }
}

async fn look(
    client: Client,
    node: NodeId,
    canary: Model,
    enough: watch::Receiver<bool>,
) -> Result<(NodeId, Option<Instant>), DemoError> {
    let mut seen = Seen::default();
    loop {
        // Whoever has seen enough of the nodes' states lets each be looked at once more.
        let is_last = *enough.borrow();
        let state = client.state(node).await.map_err(|error| DemoError::Wrong(format!("{node}: {error}")))?;
        let share =
            state.serving.iter().find(|(model, _)| model.as_str() == canary.name()).map_or(0.0, |(_, share)| *share);
        seen.note(Instant::now(), share);
        if is_last {
            return Ok((node, seen.stopped));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What was seen of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    has_served: bool,
    stopped: Option<Instant>,
}

impl Seen {
    fn note(&mut self, now: Instant, share: f64) {
        if share > 0.0 {
            *self = Self { has_served: true, stopped: None };
        } else if self.has_served && self.stopped.is_none() {
            self.stopped = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_stopped_when_it_served_and_serves_no_more() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let seen = |shares: &[f64]| {
            let mut seen = Seen::default();
            (0..).zip(shares).for_each(|(millis, share)| seen.note(at(millis), *share));
            seen.stopped
        };
        assert_eq!(seen(&[0.0, 0.0]), None);
        assert_eq!(seen(&[0.0, 0.05, 0.05]), None);
        assert_eq!(seen(&[0.0, 0.05, 0.0, 0.0]), Some(at(2)));
        assert_eq!(seen(&[0.05, 0.0, 0.05, 0.0]), Some(at(3)));
    }
}
