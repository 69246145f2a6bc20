//! The story of a good canary: it is started once, takes every step by itself and becomes the stable model; then a node is
//! killed and comes back.

use super::error::DemoError;
use super::ledger::{Ledger, Rule, USERS};
use super::models::Model;
use super::screen::{self, Seen, Step};
use super::story::{Story, command, plan, slow, wrong};
use super::traffic::Gate;
use model::{NodeId, Weight};
use schema::CurrentRollout;
use std::time::{Duration, Instant};

/// How often it is looked at how the rollout stands.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A step whose hold is over is passed within a tenth of a second; on a busy machine its latencies may take a while to
/// compare well.
const LONGEST_STEP: Duration = Duration::from_secs(20);
/// Fewer answers of a node at one version say nothing.
const FEWEST_ANSWERS: u32 = 300;
/// Where the share is exact, this many show that it is.
const ANSWERS_WHERE_EXACT: u32 = USERS / 3;
/// How long these may take on a busy machine.
const LONGEST_COUNT: Duration = Duration::from_secs(8);

impl Story<'_> {
    /// One rollout from its start to its end; nothing is done but look.
    pub(super) async fn good(&mut self, canary: Model) -> Result<(), DemoError> {
        let number = self.next_number();
        screen::good_title(number, canary, self.stable, &command(canary));
        screen::header(&self.members, canary);
        self.traffic.ledger.begin(Rule::Grows(canary));
        let mut version = self.mesh.start(canary, plan()?).await?;
        while let Some(next) = self.step(version).await? {
            version = next;
        }
        self.stable = canary;
        self.promoted(canary, version + 1).await?;
        self.kill_and_return(canary, version + 1).await
    }

    /// Watches the step that `version` began until the next one is taken, and gives the version of that; none when the
    /// canary was promoted.
    async fn step(&mut self, version: u64) -> Result<Option<u64>, DemoError> {
        let members = self.members.clone();
        let rows = self.mesh.in_step(self.nodes, &members, version).await?;
        let commit = self.mesh.commit_time(version).await?;
        let (last, next) = self.watch_step(version).await?;
        let weight = agreed(&last)?;
        let seen = Seen { rows: &rows, members: &members, ledger: &self.traffic.ledger, version };
        screen::row(&weight.to_string(), &Step { weight, commit, seen, verdict: &screen::verdict(&last) });
        self.must_have_share(weight, version)?;
        let Some(rollout) = &next.rollout else { return Err(wrong("the rollout is gone")) };
        match rollout.outcome.as_deref() {
            None if next.version == version + 1 => Ok(Some(next.version)),
            Some("Promoted") if next.version == version + 1 => Ok(None),
            None => Err(wrong(format!("after version {version} came version {}, not the next step", next.version))),
            Some(outcome) => {
                let why = rollout.why.as_deref().unwrap_or("without a reason");
                Err(slow(format!("the good model was not promoted but {outcome}: {why}")))
            }
        }
    }

    /// What the coordinator showed last of `version`, and first after it.
    async fn watch_step(&mut self, version: u64) -> Result<(CurrentRollout, CurrentRollout), DemoError> {
        let give_up = Instant::now() + LONGEST_STEP;
        let mut last = None;
        loop {
            let current = self.mesh.rollout().await?;
            let phase = current.rollout.as_ref().map_or("", |rollout| rollout.phase.as_str());
            match last {
                Some(last) if current.version != version => return Ok((last, current)),
                None if current.version != version => return Err(wrong(format!("version {version} was over at once"))),
                Some(_) | None => {}
            }
            if phase == "Paused" {
                let why = current.rollout.and_then(|rollout| rollout.why).unwrap_or_default();
                return Err(wrong(format!("the rollout is paused: {why}")));
            }
            if Instant::now() > give_up {
                let (limit, verdict) = (LONGEST_STEP.as_secs(), screen::verdict(&current));
                return Err(slow(format!("the step was not taken within {limit} s: {verdict}")));
            }
            last = Some(current);
            self.traffic.observe(LOOK_EVERY, |ledger| !ledger.complaints.is_empty()).await;
            self.check()?;
        }
    }

    /// The canary is the stable model.
    async fn promoted(&mut self, canary: Model, version: u64) -> Result<(), DemoError> {
        let members = self.members.clone();
        let rows = self.mesh.in_step(self.nodes, &members, version).await?;
        let commit = self.mesh.commit_time(version).await?;
        let stable =
            rows.iter().filter_map(|row| row.answer.as_ref().ok()).map(|seen| &seen.state.agreed.stable_model_id);
        if let Some(other) = stable.into_iter().find(|model| model.as_str() != canary.name()) {
            return Err(wrong(format!("{canary} was promoted, but the stable model is {other}")));
        }
        self.hear(version, &members).await;
        let seen = Seen { rows: &rows, members: &members, ledger: &self.traffic.ledger, version };
        let verdict = "Promoted: it is the stable model now";
        screen::row("stable", &Step { weight: Weight::FULL, commit, seen, verdict });
        self.must_have_share(Weight::FULL, version)
    }

    /// One node is killed, and returns with what it had.
    async fn kill_and_return(&mut self, stable: Model, version: u64) -> Result<(), DemoError> {
        let Some(killed) = self.members.last().copied() else { return Err(wrong("there are no nodes")) };
        self.traffic.gate(killed, Gate::Closed);
        self.nodes.kill(killed)?;
        screen::killed(killed);
        self.traffic.observe(LOOK_EVERY, |_| false).await;
        self.traffic.ledger.count_anew();
        let living: Vec<NodeId> = self.members.iter().copied().filter(|node| *node != killed).collect();
        self.hear(version, &living).await;

        let started = Instant::now();
        self.nodes.start(killed)?;
        self.mesh.answers(self.nodes, killed).await?;
        let ready = started.elapsed();
        self.traffic.gate(killed, Gate::Open);
        let members = self.members.clone();
        self.mesh.in_step(self.nodes, &members, version).await?;
        let in_step = started.elapsed();
        self.hear(version, &members).await;
        screen::returned(killed, version, ready, in_step);
        screen::as_before(killed, self.traffic.ledger.share(version, killed).answers, stable);
        self.must_have_share(Weight::FULL, version)
    }

    /// Waits until all of `members` have answered enough to see that there is nothing but one model.
    async fn hear(&mut self, version: u64, members: &[NodeId]) {
        let enough = |ledger: &Ledger| {
            let heard = |node: &NodeId| ledger.share(version, *node).answers >= ANSWERS_WHERE_EXACT;
            members.iter().all(heard) || !ledger.complaints.is_empty()
        };
        self.traffic.observe(LONGEST_COUNT, enough).await;
    }

    /// Whether each node gave the canary `weight` of its users at `version`.
    fn must_have_share(&mut self, weight: Weight, version: u64) -> Result<(), DemoError> {
        self.check()?;
        for node in &self.members {
            let share = self.traffic.ledger.share(version, *node);
            if share.answers < FEWEST_ANSWERS {
                let text = format!("{node} answered only {} requests at version {version}", share.answers);
                return Err(slow(text));
            }
            if !share.fits(weight) {
                let seen = share.fraction() * 100.0;
                let text = format!("agreed was {weight}, but {node} gave {seen:.2} % of {} requests", share.answers);
                return Err(wrong(text));
            }
        }
        Ok(())
    }
}

/// The weight of the step that `current` shows.
fn agreed(current: &CurrentRollout) -> Result<Weight, DemoError> {
    let canary = current.rollout.as_ref().map(|rollout| &rollout.canary_model_id);
    let share = canary.and_then(|canary| current.weights.get(canary)).copied().unwrap_or_default();
    Weight::from_fraction(share).map_err(DemoError::failed)
}
