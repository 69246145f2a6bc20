//! A rollout: a plan, how far it has come, and how it ended. It is part of what the members agree on, so whoever
//! coordinates carries it on.

use crate::{Approvals, Model, Plan, RoutingState, Span};
use model::{UnixMillis, Weight};
use std::sync::Arc;

/// The longest reason that is kept; longer ones are cut.
pub const MAX_WHY: usize = 500;

/// The rollout that is open, or the one that ended last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The version that started it, which is its name.
    pub started: u64,
    /// When, by the wall clock of who coordinated.
    pub started_at: UnixMillis,
    /// The way up.
    pub plan: Arc<Plan>,
    /// The model on trial.
    pub canary: Model,
    /// The stable model that it set out from.
    pub stable: Model,
    /// The present step, from 0.
    pub step: usize,
    /// The version that the present measurements belong to: they begin anew with every step, and when it is resumed.
    pub epoch: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Why it is paused, or ended as it did; empty where it needs no reason.
    pub why: String,
    /// Who approved which step.
    pub approvals: Approvals,
    /// How long the present step may stay undecided after its hold, worked out when it was entered; none where the plan says it
    /// for all steps.
    pub deadline: Option<Span>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The present step is held and judged.
    Progressing,
    /// Nothing goes on until an operator says so. A canary that fails is rolled back all the same.
    Paused,
    /// It is over.
    Ended(Outcome),
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The canary went all the way, and is the stable model now.
    Promoted,
    /// An operator made it the stable model before the end of the plan.
    FastPromoted,
    /// An operator, or the deadline, ended it; the canary gets nothing.
    Aborted,
    /// The canary failed a gate, and gets nothing.
    RolledBack,
    /// Another rollout took its place.
    Superseded,
}

impl Rollout {
    /// Its name.
    pub fn id(&self) -> String {
        format!("rollout-{}", self.started)
    }

    /// Whether it goes on.
    pub const fn is_open(&self) -> bool {
        match self.phase {
            Phase::Progressing | Phase::Paused => true,
            Phase::Ended(_) => false,
        }
    }

    /// The weight of the present step.
    pub fn weight(&self) -> Weight {
        self.plan.steps.get(self.step).map_or(Weight::ZERO, |step| step.weight)
    }

    /// How long the present step may stay undecided after its hold.
    pub fn progress_deadline(&self) -> Span {
        self.plan.progress_deadline.or(self.deadline).unwrap_or(Plan::PROGRESS_DEADLINE)
    }

    /// Whether version 5 of the wire has words for all of it.
    pub fn is_said_by_5(&self) -> bool {
        self.plan.of_5().is_some() && self.deadline.is_none()
    }

    /// Whether there is no step after this one.
    pub fn is_last_step(&self) -> bool {
        self.step + 1 >= self.plan.steps.len()
    }

    /// The same, standing elsewhere, and why.
    pub fn standing(&self, phase: Phase, why: &str) -> Self {
        Self { phase, why: cut(why), ..self.clone() }
    }

    /// The same at another step, measured anew from `version` on.
    pub fn at_step(&self, step: usize, version: u64) -> Self {
        Self { step, epoch: version, phase: Phase::Progressing, why: String::new(), ..self.clone() }
    }
}

impl RoutingState {
    /// The rollout that goes on, if one does.
    pub fn open_rollout(&self) -> Option<&Arc<Rollout>> {
        self.rollout.as_ref().filter(|rollout| rollout.is_open())
    }

    /// Whether the plan of the rollout in `self` or `next` allows an advance from one to the other at the word of
    /// `by`: what every member checks before it votes, whoever asks. Fails with what the plan says instead.
    pub fn plan_allows(&self, next: &Self, by: &str) -> Result<(), String> {
        self.approvals_allow(next, by)?;
        self.deadline_allows(next)?;
        match (self.rollout.as_deref(), next.rollout.as_deref()) {
            (None, None) => Ok(()),
            (Some(before), None) => Err(format!("{} may not vanish from the state", before.id())),
            (before, Some(after)) if before.is_none_or(|before| before.started != after.started) => begins(next, after),
            (Some(before), Some(after)) => continues(self, next, before, after),
            (None, Some(_)) => Ok(()),
        }
    }
}

/// A new rollout begins with its first step.
fn begins(next: &RoutingState, rollout: &Rollout) -> Result<(), String> {
    let first = rollout.started == next.version && rollout.epoch == next.version && rollout.step == 0;
    let on_trial = next.canary.as_ref().is_some_and(|canary| canary.model == rollout.canary);
    if !first || !on_trial || rollout.phase != Phase::Progressing || next.canary_weight() != rollout.weight() {
        return Err(format!("a rollout begins with its first step, {}", rollout.weight()));
    }
    match Plan::clone(&rollout.plan).checked() {
        Ok(plan) if plan == *rollout.plan => Ok(()),
        Ok(_) => Err("the lists of its plan are not in order".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The rollout there is goes on by its plan, or stays as it is while something else changes.
fn continues(base: &RoutingState, next: &RoutingState, before: &Rollout, after: &Rollout) -> Result<(), String> {
    if after.plan != before.plan || after.canary.id != before.canary.id {
        return Err(format!("the plan of {} may not change", before.id()));
    }
    let promoted = next.stable == before.canary && next.canary.is_none();
    match after.phase {
        Phase::Ended(Outcome::Promoted) if before.is_open() => match promoted && before.is_last_step() {
            true => Ok(()),
            false => Err("only the canary of the last step is promoted".into()),
        },
        Phase::Ended(Outcome::FastPromoted) if before.is_open() && promoted => Ok(()),
        // What is over does not bind what comes after.
        Phase::Ended(_) if !before.is_open() => Ok(()),
        Phase::Ended(_) => Err(format!("{} does not end by an advance like this", before.id())),
        Phase::Progressing | Phase::Paused => {
            let again = !before.is_open() && after.step == 0;
            let onward = before.is_open() && (after.step == before.step || after.step == before.step + 1);
            let weight = next.canary_weight();
            let as_planned = weight == after.weight() || weight <= base.canary_weight();
            if next.stable.id != base.stable.id {
                return Err(format!("the stable model may not change while {} is open", before.id()));
            }
            if (again || onward) && as_planned {
                return Ok(());
            }
            let follows = before.plan.steps.get(before.step + 1).map(|step| step.weight);
            let planned = follows.map_or_else(|| "promotion".into(), |weight| weight.to_string());
            Err(format!("after {} comes {planned}, not {weight}", before.weight()))
        }
    }
}

fn cut(text: &str) -> String {
    let end = (0..=MAX_WHY.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}
