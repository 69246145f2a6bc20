//! The order of what is shown; any difference from what should be ends it.

use super::error::DemoError;
use super::mesh::Mesh;
use super::models::{Model, ModelServers};
use super::nodes::Nodes;
use super::screen;
use super::stage::Stage;
use super::traffic::Traffic;
use model::{NodeId, Weight};
use schema::PlanShape;
use std::time::{Duration, Instant};

/// The canary's way up, in per cent.
const WAY_UP: [&str; 4] = ["5", "20", "50", "100"];
/// How long each weight is held: long enough that every node is asked for every user, and that the others' counts, which
/// come every two seconds, are in the verdict.
const HOLD: Duration = Duration::from_secs(5);

/// The stories that are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programme {
    /// That of the good canary.
    Good,
    /// Those of the bad ones.
    Bad,
    /// All.
    Whole,
}

/// What all stories share.
pub(super) struct Story<'a> {
    pub(super) mesh: Mesh,
    pub(super) nodes: &'a mut Nodes,
    pub(super) traffic: Traffic,
    pub(super) models: ModelServers,
    pub(super) members: Vec<NodeId>,
    /// The stable model as it should be.
    pub(super) stable: Model,
    /// How many stories were begun.
    told: usize,
}

/// Shows everything; gives the traffic, which still runs, and what answers it.
pub(super) async fn tell(
    stage: &Stage,
    nodes: &mut Nodes,
    programme: Programme,
) -> Result<(Traffic, ModelServers), DemoError> {
    let began = Instant::now();
    let mut story = Story::open(stage, nodes, programme).await?;
    if programme != Programme::Bad {
        story.good(Model::V2).await?;
    }
    if programme != Programme::Good {
        story.bad(Model::V3).await?;
        story.bad(Model::V4).await?;
    }
    let version = story.mesh.rollout().await?.version;
    let members = story.members.clone();
    let rows = story.mesh.in_step(story.nodes, &members, version).await?;
    story.check()?;
    screen::end(&rows, &story.traffic.ledger, began.elapsed());
    Ok((story.traffic, story.models))
}

impl<'a> Story<'a> {
    /// The nodes, the model servers and the users, before anything is decided.
    async fn open(stage: &Stage, nodes: &'a mut Nodes, programme: Programme) -> Result<Self, DemoError> {
        screen::title();
        let models = ModelServers::start(programme.models()).await?;
        let members: Vec<NodeId> = stage.peers.members().iter().collect();
        nodes.use_upstreams(models.upstreams());
        let mesh = Mesh::new(stage)?;
        for node in &members {
            nodes.start(*node)?;
        }
        screen::setting(stage, &models);
        let started = Instant::now();
        mesh.in_step(nodes, &members, 0).await?;
        screen::ready(started.elapsed());
        let traffic = Traffic::start(stage)?;
        Ok(Self { mesh, nodes, traffic, models, members, stable: Model::V1, told: 0 })
    }

    /// The number of the story that begins now, from 1.
    pub(super) fn next_number(&mut self) -> usize {
        self.told += 1;
        self.told
    }

    /// Whether all that has happened until now is as it should be.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        self.nodes.must_run()?;
        let Some((first, others)) = self.traffic.ledger.complaints.split_first() else { return Ok(()) };
        let also = others.iter().map(|text| format!("\n  also: {text}")).collect::<String>();
        Err(wrong(format!("{first}{also}")))
    }
}

impl Programme {
    const fn models(self) -> &'static [Model] {
        match self {
            Self::Good => &[Model::V1, Model::V2],
            Self::Bad => &[Model::V1, Model::V3, Model::V4],
            Self::Whole => &[Model::V1, Model::V2, Model::V3, Model::V4],
        }
    }
}

/// The plan of every rollout here: the usual limits, and holds that one can sit through.
pub(super) fn plan() -> Result<PlanShape, DemoError> {
    let weights: Result<Vec<Weight>, _> = WAY_UP.into_iter().map(Weight::from_percent).collect();
    let weights = weights.map_err(DemoError::failed)?;
    Ok(PlanShape::of_weights(&weights, Some(HOLD)))
}

/// What people type to start the rollout that this program starts.
pub(super) fn command(canary: Model) -> String {
    format!("canary rollout start {canary} --steps {} --hold {}s", WAY_UP.join(","), HOLD.as_secs())
}

/// Something is not as it should be.
pub(super) fn wrong(text: impl Into<String>) -> DemoError {
    DemoError::Wrong(text.into())
}

/// Something is not as it should be, as it may be on a machine that stops for a second at a time, which makes a good model
/// slow.
pub(super) fn slow(text: impl Into<String>) -> DemoError {
    DemoError::Slow(text.into())
}
