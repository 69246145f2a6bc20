//! The states that follow one another in a rollout: its start, its steps, its ends.

use crate::{
    Approvals, Canary, ChangeError, MAX_EARLIER, Model, Outcome, Phase, Plan, Rollout, RoutingState, WhenOpen,
};
use model::{ModelId, NodeId, NodeSet, Weight};
use std::sync::Arc;

/// An operator's own weight.
pub(super) fn set_weight(
    base: &RoutingState,
    next: &mut RoutingState,
    weight: Weight,
    named: Option<&Model>,
) -> Result<(), ChangeError> {
    if let Some(rollout) = base.open_rollout() {
        let another = named.is_some_and(|model| model.id != rollout.canary.id);
        if another || weight >= base.canary_weight() {
            return Err(open(base, rollout));
        }
        let why = format!("an operator lowered the weight to {weight}");
        next.rollout = Some(Arc::new(rollout.standing(Phase::Paused, &why)));
    }
    next.canary = canary_after(base, weight, named, next.version)?;
    Ok(())
}

pub(super) fn set_model(next: &mut RoutingState, model: &Model) -> Result<(), ChangeError> {
    let canary = next.canary.as_mut().filter(|canary| canary.model.id == model.id);
    match canary {
        Some(canary) => canary.model = model.clone(),
        None if next.stable.id == model.id => next.stable = model.clone(),
        None => return Err(ChangeError::UnknownModel(model.id.clone(), next.stable.id.clone())),
    }
    if let Some(rollout) = next.open_rollout() {
        // Another server is measured anew.
        let mut anew = Rollout { epoch: next.version, ..Rollout::clone(rollout) };
        if anew.canary.id == model.id && anew.canary != *model {
            // And what was approved was the canary as it was.
            anew.canary = model.clone();
            anew.approvals = anew.approvals.up_to(anew.step);
        }
        next.rollout = Some(Arc::new(anew));
    }
    Ok(())
}

pub(super) fn start(
    base: &RoutingState,
    next: &mut RoutingState,
    canary: &Model,
    plan: &Arc<Plan>,
    when_open: WhenOpen,
) -> Result<(), ChangeError> {
    if let Some(rollout) = base.open_rollout()
        && when_open == WhenOpen::Refuse
    {
        return Err(open(base, rollout));
    }
    let weight = plan.steps.first().map_or(Weight::ZERO, |step| step.weight);
    next.canary = canary_after(base, weight, Some(canary), next.version)?;
    let on_trial = next.canary.as_ref().map_or_else(|| canary.clone(), |canary| canary.model.clone());
    next.rollout = Some(Arc::new(Rollout {
        started: next.version,
        started_at: next.timestamp,
        plan: Arc::clone(plan),
        canary: on_trial,
        stable: base.stable.clone(),
        step: 0,
        epoch: next.version,
        phase: Phase::Progressing,
        why: String::new(),
        approvals: Approvals::default(),
        deadline: None,
    }));
    Ok(())
}

/// The next step, or, after the last one, the canary as the stable model.
pub(super) fn step_on(next: &mut RoutingState, rollout: &Rollout) -> Result<(), ChangeError> {
    if rollout.is_last_step() {
        return end_as_stable(next, rollout, Outcome::Promoted);
    }
    if let Some(missing) = rollout.lacks(rollout.step + 1) {
        return Err(ChangeError::NotApproved(missing));
    }
    take_step(next, rollout, rollout.step + 1);
    Ok(())
}

/// One more operator has approved the next step that names approvals.
pub(super) fn approve(base: &RoutingState, next: &mut RoutingState, operator: &str) -> Result<(), ChangeError> {
    next.rollout = Some(Arc::new(present(base, None)?.approved(operator)?));
    Ok(())
}

fn take_step(next: &mut RoutingState, rollout: &Rollout, step: usize) {
    let there = rollout.at_step(step, next.version);
    if let Some(canary) = &mut next.canary {
        canary.weight = there.weight();
    }
    next.rollout = Some(Arc::new(there));
}

pub(super) fn end_as_stable(next: &mut RoutingState, rollout: &Rollout, outcome: Outcome) -> Result<(), ChangeError> {
    if let Some(missing) = rollout.lacks_for_all() {
        return Err(ChangeError::NotApproved(missing));
    }
    let before = std::mem::replace(&mut next.stable, rollout.canary.clone());
    remember(next, before);
    next.canary = None;
    next.rollout = Some(Arc::new(rollout.standing(Phase::Ended(outcome), "")));
    Ok(())
}

pub(super) fn end_at_nothing(next: &mut RoutingState, rollout: &Rollout, outcome: Outcome, why: &str) {
    if let Some(canary) = &mut next.canary {
        canary.weight = Weight::ZERO;
    }
    next.rollout = Some(Arc::new(rollout.standing(Phase::Ended(outcome), why)));
}

pub(super) fn resume(base: &RoutingState, next: &mut RoutingState) -> Result<(), ChangeError> {
    let rollout = present(base, None)?;
    if rollout.phase != Phase::Paused {
        return Err(wrong_phase(rollout, "it needs no word to go on; promote skips the hold"));
    }
    take_step(next, rollout, rollout.step);
    Ok(())
}

pub(super) fn retry(base: &RoutingState, next: &mut RoutingState) -> Result<(), ChangeError> {
    let Some(rollout) = &base.rollout else { return Err(ChangeError::NoRollout) };
    match rollout.phase {
        Phase::Ended(Outcome::Aborted | Outcome::RolledBack) => {}
        Phase::Ended(_) | Phase::Progressing | Phase::Paused => {
            return Err(wrong_phase(rollout, "only one that was aborted or rolled back begins again"));
        }
    }
    if base.canary.as_ref().is_none_or(|canary| canary.model.id != rollout.canary.id) {
        return Err(wrong_phase(rollout, "its canary is no longer there: start a new one"));
    }
    let anew = Rollout { approvals: Approvals::default(), ..Rollout::clone(rollout) };
    take_step(next, &anew, 0);
    Ok(())
}

pub(super) fn undo(base: &RoutingState, next: &mut RoutingState, to: Option<&ModelId>) -> Result<(), ChangeError> {
    if let Some(rollout) = base.open_rollout() {
        return Err(open(base, rollout));
    }
    let Some(latest) = base.earlier.last() else { return Err(ChangeError::NothingBefore(base.stable.id.clone())) };
    let wanted = to.unwrap_or(&latest.id);
    let Some(place) = base.earlier.iter().rposition(|model| model.id == *wanted) else {
        let known = base.earlier.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
        return Err(ChangeError::NotBefore(wanted.clone(), known));
    };
    let again = next.earlier.remove(place);
    let before = std::mem::replace(&mut next.stable, again);
    remember(next, before);
    next.canary = None;
    Ok(())
}

fn remember(next: &mut RoutingState, model: Model) {
    next.earlier.retain(|known| known.id != model.id && known.id != next.stable.id);
    next.earlier.push(model);
    if next.earlier.len() > MAX_EARLIER {
        next.earlier.remove(0);
    }
}

/// The rollout that goes on, in the step that is meant.
pub(super) fn present(base: &RoutingState, epoch: Option<u64>) -> Result<&Rollout, ChangeError> {
    let Some(rollout) = base.open_rollout() else { return Err(ChangeError::NoRollout) };
    match epoch {
        Some(epoch) if epoch != rollout.epoch => Err(ChangeError::StepOver(epoch)),
        Some(_) | None => Ok(rollout),
    }
}

/// The rollout that goes on, if it is the one that is meant.
pub(super) fn named(base: &RoutingState, started: Option<u64>) -> Result<&Rollout, ChangeError> {
    let rollout = present(base, None)?;
    if started.is_some_and(|started| started != rollout.started) { Err(ChangeError::NoRollout) } else { Ok(rollout) }
}

fn open(base: &RoutingState, rollout: &Rollout) -> ChangeError {
    ChangeError::RolloutOpen { id: rollout.id(), canary: rollout.canary.id.clone(), weight: base.canary_weight() }
}

pub(super) fn wrong_phase(rollout: &Rollout, hint: &'static str) -> ChangeError {
    let phase = match rollout.phase {
        Phase::Progressing => "progressing",
        Phase::Paused => "paused",
        Phase::Ended(_) => "over",
    };
    ChangeError::WrongPhase { id: rollout.id(), phase, hint }
}

fn canary_after(
    base: &RoutingState,
    weight: Weight,
    named: Option<&Model>,
    version: u64,
) -> Result<Option<Canary>, ChangeError> {
    let Some(model) = named.or(base.canary.as_ref().map(|canary| &canary.model)) else {
        return if weight == Weight::ZERO { Ok(None) } else { Err(ChangeError::NoCanary(weight)) };
    };
    if model.id == base.stable.id {
        return Err(ChangeError::CanaryIsStable(model.id.clone()));
    }
    let kept = base.canary.as_ref().filter(|canary| canary.model.id == model.id);
    // Naming the present canary again without a URL keeps the URL it has.
    let upstream = model.upstream.clone().or_else(|| kept.and_then(|canary| canary.model.upstream.clone()));
    let salt = kept.map_or_else(|| format!("rollout-{version}"), |canary| canary.salt.clone());
    Ok(Some(Canary { model: Model { id: model.id.clone(), upstream }, weight, salt }))
}

pub(super) const fn member(node: NodeId, members: NodeSet) -> Result<NodeId, ChangeError> {
    if members.contains(node) { Ok(node) } else { Err(ChangeError::NotAMember(node, members)) }
}
