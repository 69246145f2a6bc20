//! What is shown, in order; any difference from what was agreed ends it.

use super::ledger::{Ledger, Trend, USERS};
use super::mesh::{Decided, Mesh};
use super::models::ModelServers;
use super::nodes::Nodes;
use super::screen::{self, Step};
use super::stage::Stage;
use super::traffic::Traffic;
use crate::cli::failure::{Exit, Failure};
use crate::cli::query::Row;
use crate::model::{NodeId, Weight};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// The canary's way up, in per cent.
const WAY_UP: [&str; 4] = ["5", "20", "50", "100"];
/// The weight that is pulled back to.
const NOTHING: &str = "0";
/// A step ends when every node has given this many answers, one for each user …
const ANSWERS: u32 = USERS;
/// … or, on a busy machine, after this time, with what there is and the wider tolerance that goes with it …
const LONGEST_STEP: Duration = Duration::from_secs(8);
/// … unless that is too little to say anything.
const FEWEST_ANSWERS: u32 = 300;
/// At 0 % the share is exact; this is enough to see that the canary is gone.
const ANSWERS_AT_NOTHING: u32 = USERS / 3;

/// Shows everything; gives the traffic, which still runs, and what answers it.
pub(super) async fn tell(stage: &Stage, nodes: &mut Nodes) -> Result<(Traffic, ModelServers), Failure> {
    let began = Instant::now();
    let members: Vec<NodeId> = stage.peers.members().iter().collect();
    screen::title();
    let models = ModelServers::start().await?;
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
    let mut story = Story { mesh, nodes, traffic, members };
    screen::header(&story.members);
    for percent in WAY_UP {
        story.step_up(weight(percent)?).await?;
    }
    let rows = story.pull_back().await?;
    screen::end(&rows, &story.traffic.ledger, began.elapsed());
    Ok((story.traffic, models))
}

struct Story<'a> {
    mesh: Mesh,
    nodes: &'a mut Nodes,
    traffic: Traffic,
    members: Vec<NodeId>,
}

impl Story<'_> {
    /// One step up, which every node must agree to.
    async fn step_up(&mut self, weight: Weight) -> Result<(), Failure> {
        let decided = self.mesh.set_weight(weight).await?;
        self.traffic.ledger.begin(decided.committed.state.version, Trend::Rising);
        let members = self.members.clone();
        self.measure(weight, &decided, &members, ANSWERS).await
    }

    /// Back to nothing while one node is killed, and that node's return.
    async fn pull_back(&mut self) -> Result<Vec<Row>, Failure> {
        let Some((killed, living)) = self.members.split_last().map(|(last, others)| (*last, others.to_vec())) else {
            return Err(Failure::message(Exit::Failed, "there are no nodes"));
        };
        let nothing = weight(NOTHING)?;
        screen::killing(killed);
        self.traffic.turn_away_from(killed);
        self.nodes.kill(killed)?;
        let decided = self.mesh.set_weight(nothing).await?;
        let answered = Timestamp::now();
        let version = decided.committed.state.version;
        self.traffic.ledger.begin(version, Trend::Falling);
        self.measure(nothing, &decided, &living, ANSWERS_AT_NOTHING).await?;
        let acknowledged = &decided.committed.acknowledged;
        if !living.iter().all(|node| acknowledged.contains(node)) {
            let text = format!("only {} acknowledged the pull-back", screen::listed(acknowledged));
            return Err(Failure::message(Exit::Failed, text));
        }
        let told = decided.committed.others_until.as_deref().and_then(|until| until.parse::<Timestamp>().ok());
        let Some(until) = told else {
            return Err(Failure::message(
                Exit::Failed,
                format!("it was not told until when {killed} could have served v2"),
            ));
        };
        screen::bound(acknowledged, killed, until, answered);

        let started = Instant::now();
        self.traffic.ledger.expect_stable_only(killed);
        self.nodes.start(killed)?;
        self.mesh.answers(self.nodes, killed).await?;
        let ready = started.elapsed();
        self.traffic.return_to(killed);
        let members = self.members.clone();
        self.mesh.in_step(self.nodes, &members, version).await?;
        screen::returned(killed, version, ready, started.elapsed());
        let heard = |ledger: &Ledger| ledger.share(killed).answers >= ANSWERS_AT_NOTHING;
        self.traffic.observe(LONGEST_STEP, heard).await;
        self.check(nothing, &members)?;
        screen::never_again(killed, self.traffic.ledger.share(killed).answers);
        self.mesh.in_step(self.nodes, &members, version).await
    }

    /// Waits until the nodes show the decision and have served enough requests by it; shows and judges what was seen.
    async fn measure(
        &mut self,
        weight: Weight,
        decided: &Decided,
        members: &[NodeId],
        answers: u32,
    ) -> Result<(), Failure> {
        let rows = self.mesh.in_step(self.nodes, members, decided.committed.state.version).await?;
        let enough = |ledger: &Ledger| {
            members.iter().all(|node| ledger.share(*node).answers >= answers) || !ledger.complaints().is_empty()
        };
        self.traffic.observe(LONGEST_STEP, enough).await;
        screen::step(&Step { weight, decided, rows: &rows, members: &self.members, ledger: &self.traffic.ledger });
        self.check(weight, members)
    }

    /// Whether the answers of `members` are what was agreed.
    fn check(&mut self, weight: Weight, members: &[NodeId]) -> Result<(), Failure> {
        self.nodes.must_run()?;
        let ledger = &self.traffic.ledger;
        if let Some(first) = ledger.complaints().first() {
            let also = ledger.complaints()[1..].iter().map(|text| format!("\n  also: {text}")).collect::<String>();
            return Err(Failure::message(Exit::Failed, format!("{first}{also}")));
        }
        for node in members {
            let share = ledger.share(*node);
            if share.answers < FEWEST_ANSWERS {
                let text = format!("{node} answered only {} requests at {weight}", share.answers);
                return Err(Failure::message(Exit::Failed, text).with_hint("is this machine busy with other things?"));
            }
            if !share.fits(weight) {
                let seen = share.fraction() * 100.0;
                let text = format!("agreed was {weight}, but {node} gave the canary {seen:.2} % of {}", share.answers);
                return Err(Failure::message(Exit::Failed, text + " requests"));
            }
        }
        Ok(())
    }
}

fn weight(percent: &str) -> Result<Weight, Failure> {
    Weight::from_percent(percent).map_err(|error| Failure::new(Exit::Failed, error))
}
