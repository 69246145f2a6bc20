//! The mesh as an operator sees it from outside: what the nodes show, and what they answer to a change.

use super::error::DemoError;
use super::models::Model;
use super::nodes::Nodes;
use super::stage::Stage;
use client::{ChangeFailure, Client, Row, Verdict};
use http::StatusCode;
use model::NodeId;
use schema::{Committed, CurrentRollout, Document, HistoryLine, PlanShape, StartRequest, code};
use std::time::{Duration, Instant};
use trust::ClientFiles;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the nodes may take to come into step. They need a tenth of a second; a busy machine needs more.
const IN_STEP_WITHIN: Duration = Duration::from_secs(15);
/// How often the nodes are asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A coordinator that has just begun asks the others what they hold, and takes no change meanwhile.
const BUSY_FOR: Duration = Duration::from_secs(3);

/// The operator's end.
pub(super) struct Mesh {
    client: Client,
}

impl Mesh {
    pub(super) fn new(stage: &Stage) -> Result<Self, DemoError> {
        let files = ClientFiles::load(&stage.certs().join("operator-admin")).map_err(DemoError::Certificates)?;
        let tls = tls::api_client(&files.ca, Some(&files)).map_err(DemoError::failed)?;
        Ok(Self { client: Client::new(tls, stage.peers.clone(), PATIENCE) })
    }

    /// What reads the nodes; clones share connections.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Starts a rollout of `canary`; gives the version of its first step.
    pub(super) async fn start(&self, canary: Model, plan: PlanShape) -> Result<u64, DemoError> {
        let body = StartRequest {
            canary_model_id: canary.name().parse().map_err(DemoError::failed)?,
            upstream: None,
            plan: Some(plan),
            supersede: false,
            base_version: None,
        };
        let give_up = Instant::now() + BUSY_FOR;
        let told = loop {
            let told = self.client.change(NodeId::A, "/rollouts", &body).await;
            let told = told.map_err(|error: ChangeFailure| DemoError::failed(error))?;
            if told.problem().code != code::BUSY || Instant::now() > give_up {
                break told;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if told.status != StatusCode::OK {
            return Err(DemoError::Wrong(told.problem().to_string()));
        }
        let committed = Committed::read(told.document).map_err(DemoError::failed)?;
        Ok(committed.state.version)
    }

    /// How the rollout stands, as the coordinator sees it.
    pub(super) async fn rollout(&self) -> Result<CurrentRollout, DemoError> {
        self.client.read(NodeId::A, "/rollouts/current").await.map_err(DemoError::failed)
    }

    /// How long the coordinator needed to have `version` agreed, from the request on.
    pub(super) async fn commit_time(&self, version: u64) -> Result<Duration, DemoError> {
        let give_up = Instant::now() + IN_STEP_WITHIN;
        loop {
            let lines: Vec<HistoryLine> =
                self.client.read(NodeId::A, "/history?limit=10").await.map_err(DemoError::failed)?;
            let line = lines.into_iter().find(|line| line.version == version && line.decision == "COMMIT");
            if let Some(millis) = line.and_then(|line| line.took_ms) {
                return Ok(Duration::from_secs_f64(millis / 1e3));
            }
            let late = || format!("the coordinator's history does not say how version {version} was agreed");
            look_again(give_up, late).await?;
        }
    }

    /// Waits until `members` all show `version`, connected and not isolated; gives what they show then.
    pub(super) async fn in_step(
        &self,
        nodes: &mut Nodes,
        members: &[NodeId],
        version: u64,
    ) -> Result<Vec<Row>, DemoError> {
        let give_up = Instant::now() + IN_STEP_WITHIN;
        loop {
            nodes.must_run()?;
            let mut rows = self.client.compare().await;
            rows.retain(|row| members.contains(&row.node));
            let verdict = Verdict::of(&rows);
            if matches!(verdict, Verdict::Synchronized { version: at, .. } if at == version)
                && rows.iter().all(|row| takes_part(row, members))
            {
                return Ok(rows);
            }
            let late = || {
                let (limit, verdict) = (IN_STEP_WITHIN.as_secs(), terminal::verdict(&verdict));
                format!("the nodes are not in step at version {version} after {limit} s: {verdict}")
            };
            look_again(give_up, late).await?;
        }
    }

    /// Waits until `node` answers.
    pub(super) async fn answers(&self, nodes: &mut Nodes, node: NodeId) -> Result<(), DemoError> {
        let give_up = Instant::now() + IN_STEP_WITHIN;
        while let Err(error) = self.client.state(node).await {
            nodes.must_run()?;
            let late = || format!("{node} does not answer after {} s: {error}", IN_STEP_WITHIN.as_secs());
            look_again(give_up, late).await?;
        }
        Ok(())
    }
}

/// Waits until it is time to look again. Fails when it has taken too long.
async fn look_again(give_up: Instant, late: impl Fn() -> String) -> Result<(), DemoError> {
    if Instant::now() > give_up {
        return Err(DemoError::Wrong(late()));
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}

/// Whether a node is in touch with all others of `members`, and its state confirmed by them.
fn takes_part(row: &Row, members: &[NodeId]) -> bool {
    let Ok(seen) = &row.answer else { return false };
    let Some(health) = &seen.health else { return false };
    let linked = |peer: &&NodeId| health.peers.get(peer).is_some_and(|peer| peer.connected);
    let others = members.iter().filter(|peer| **peer != row.node);
    !seen.state.isolated && others.clone().count() == others.filter(linked).count()
}
