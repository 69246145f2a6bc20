//! The mesh left up for someone to try.

use super::error::DemoError;
use super::models::{Model, ModelServers};
use super::nodes::Nodes;
use super::screen;
use super::stage::Stage;
use super::traffic::Traffic;
use std::time::Duration;

/// How often it is looked at whether the nodes still run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Goes on until a node ends. What is tried meanwhile is the visitor's: it is no longer compared with what was agreed.
pub(super) async fn stay(
    stage: &Stage,
    nodes: &mut Nodes,
    mut traffic: Traffic,
    mut models: ModelServers,
) -> DemoError {
    match models.add(Model::V5).await {
        Ok(url) => screen::to_try(stage, &models, Model::V5, &url),
        Err(failure) => return failure,
    }
    loop {
        traffic.observe(LOOK_EVERY, |_| false).await;
        if let Err(failure) = nodes.must_run() {
            return failure;
        }
    }
}
