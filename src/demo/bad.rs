//! The story of a bad canary: it is started like a good one, fails on real requests, and is rolled back by itself.

use super::error::DemoError;
use super::ledger::Rule;
use super::models::{Deeds, Done, Model};
use super::screen::{self, Damage};
use super::serving::Lookout;
use super::story::{Story, command, plan, slow, wrong};
use model::NodeId;
use schema::RolloutShape;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is looked at how the rollout stands.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A bad canary is found out within a second or two of its first requests; a busy machine needs more.
const LONGEST: Duration = Duration::from_secs(15);
/// How long the users go on after it, to see that nobody meets the canary any more.
const AFTERWARDS: Duration = Duration::from_secs(1);

impl Story<'_> {
    /// One rollout from its start to its rollback; nothing is done but look.
    pub(super) async fn bad(&mut self, canary: Model) -> Result<(), DemoError> {
        let number = self.next_number();
        screen::bad_title(number, canary, self.stable, &command(canary));
        self.traffic.ledger.begin(Rule::TakenBack(canary));
        let deeds = self.models.deeds(canary);
        let lookout = Lookout::begin(&self.mesh.client(), &self.members, canary);
        let first = self.mesh.start(canary, plan()?).await?;
        screen::began(self.mesh.commit_time(first).await?, canary);
        let (ended, version) = self.until_over().await?;
        let members = self.members.clone();
        self.mesh.in_step(self.nodes, &members, version).await?;
        let stopped = lookout.end().await?;
        self.traffic.observe(AFTERWARDS, |ledger| !ledger.complaints.is_empty()).await;
        self.check()?;
        let commit = self.mesh.commit_time(version).await?;
        let why = ended.why.unwrap_or_default();
        screen::rolled_back(commit, &why, &self.damage(canary, &deeds, &stopped)?);
        self.must_be_over(canary, &stopped)
    }

    /// Watches the open rollout until it is rolled back; gives it, and the version that did it.
    async fn until_over(&mut self) -> Result<(RolloutShape, u64), DemoError> {
        let give_up = Instant::now() + LONGEST;
        loop {
            let current = self.mesh.rollout().await?;
            let verdict = screen::verdict(&current);
            let Some(rollout) = current.rollout else { return Err(wrong("the rollout is gone")) };
            match rollout.outcome.as_deref() {
                Some("RolledBack") => return Ok((rollout, current.version)),
                Some(outcome) => return Err(wrong(format!("the bad model was not rolled back but {outcome}"))),
                None if rollout.step > 1 => return Err(wrong("the bad model has passed its first step")),
                None if Instant::now() > give_up => {
                    let limit = LONGEST.as_secs();
                    return Err(slow(format!("the bad model was not rolled back within {limit} s: {verdict}")));
                }
                None => {}
            }
            self.traffic.observe(LOOK_EVERY, |_| false).await;
            self.check()?;
        }
    }

    /// What the canary did until it was stopped everywhere.
    fn damage(&self, canary: Model, deeds: &Deeds, stopped: &BTreeMap<NodeId, Instant>) -> Result<Damage, DemoError> {
        let Done { asked, bad, first_asked, first_bad } = *deeds.until_now();
        let Some(first) = first_asked.filter(|_| first_bad.is_some() || !canary.may_fail()) else {
            return Err(wrong(format!("{canary} was rolled back without one bad answer")));
        };
        if let Some(node) = self.members.iter().find(|node| !stopped.contains_key(node)) {
            return Err(wrong(format!("{node} was not seen to serve {canary} and to stop serving it")));
        }
        let last = stopped.values().max().copied().unwrap_or(first);
        Ok(Damage {
            canary,
            from_bad_answer: first_bad.and_then(|bad| last.checked_duration_since(bad)),
            from_request: last.saturating_duration_since(first),
            requests: asked,
            bad,
            users: self.traffic.ledger.met_error.len(),
        })
    }

    /// Whether nobody met the canary once a node had stopped serving it, and only a canary that fails was seen failing.
    fn must_be_over(&self, canary: Model, stopped: &BTreeMap<NodeId, Instant>) -> Result<(), DemoError> {
        for (node, stopped) in stopped {
            let late = self.traffic.ledger.last_canary(*node).and_then(|last| last.checked_duration_since(*stopped));
            if let Some(late) = late {
                let millis = late.as_millis();
                return Err(wrong(format!(
                    "{node} sent a request to {canary} {millis} ms after it had stopped serving it"
                )));
            }
        }
        let users = self.traffic.ledger.met_error.len();
        match (canary.may_fail(), users) {
            (true, 0) => Err(wrong(format!("{canary} was rolled back, but nobody saw an error of it"))),
            (false, 1..) => Err(wrong(format!("{users} users saw an error of {canary}, which only is slow"))),
            (true, _) | (false, 0) => Ok(()),
        }
    }
}
