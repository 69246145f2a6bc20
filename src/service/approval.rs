//! The approvals of a rollout: how many different operators a step asks for, who gave theirs, and what no state may skip.
//!
//! They are part of the agreed state, so that every member checks them on its own copy: when it votes, and again when it
//! is asked to accept. Whose approval it is, a member takes from the name of who asked for the change.

use crate::{ChangeError, Outcome, Phase, Rollout, RoutingState};
use model::Weight;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most approvals that a step may ask for. More people than this are never on duty, and it bounds what they take in
/// every state.
pub const MAX_APPROVALS: u8 = 5;

/// Who approved which step: the operators' names as certificates prove them, by step, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Approvals(BTreeMap<usize, BTreeSet<String>>);

/// The approvals that a step lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    /// The step, from 0.
    pub step: usize,
    /// Its weight.
    pub weight: Weight,
    /// How many it lacks.
    pub count: usize,
    /// Who approved it already.
    pub by: Vec<String>,
}

impl Approvals {
    /// Who approved `step`.
    pub fn of(&self, step: usize) -> impl Iterator<Item = &str> {
        self.0.get(&step).into_iter().flatten().map(String::as_str)
    }

    /// Whether nobody approved anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who approved each step that someone did.
    pub const fn steps(&self) -> &BTreeMap<usize, BTreeSet<String>> {
        &self.0
    }

    /// Those of the steps up to `step`.
    pub(super) fn up_to(&self, step: usize) -> Self {
        Self(self.0.range(..=step).map(|(step, by)| (*step, by.clone())).collect())
    }

    fn with(&self, step: usize, operator: &str) -> Self {
        let mut all = self.clone();
        all.0.entry(step).or_default().insert(operator.to_owned());
        all
    }

    /// Whether someone approved here who did not in `before`.
    fn adds_to(&self, before: &Self) -> bool {
        self.0.iter().any(|(step, by)| before.0.get(step).is_none_or(|known| !by.is_subset(known)))
    }
}

impl FromIterator<(usize, BTreeSet<String>)> for Approvals {
    fn from_iter<I: IntoIterator<Item = (usize, BTreeSet<String>)>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, weight, count, by } = self;
        let s = if *count == 1 { "" } else { "s" };
        write!(f, "{count} more approval{s} of step {} ({weight}): {} approved", step + 1, operators(by))
    }
}

/// The operators in a list, by the names that people know them by.
pub fn operators(names: &[String]) -> String {
    if names.is_empty() {
        return "nobody".into();
    }
    let short = names.iter().map(|name| name.strip_prefix("operator/").unwrap_or(name));
    short.collect::<Vec<_>>().join(", ")
}

impl Rollout {
    /// How many different operators have to approve `step` before it is entered.
    pub fn needed(&self, step: usize) -> usize {
        self.plan.steps.get(step).map_or(0, |step| usize::from(step.approvals))
    }

    /// The step that an approval is for now: the next one to come that names some. None when no step to come does.
    pub fn step_to_approve(&self) -> Option<usize> {
        (self.step + 1..self.plan.steps.len()).find(|step| self.needed(*step) > 0)
    }

    /// What `step` lacks before it may be entered.
    pub fn lacks(&self, step: usize) -> Option<Missing> {
        self.missing(step, self.needed(step))
    }

    /// What is lacking before the canary may become stable without the steps to come: the next step that names approvals
    /// must have as many as the strictest of them names.
    pub fn lacks_for_all(&self) -> Option<Missing> {
        self.missing(self.step_to_approve()?, self.strictest())
    }

    /// The same with `operator`'s approval of the step that an approval is for now. Fails when no step to come needs
    /// it, or she approved it already.
    pub fn approved(&self, operator: &str) -> Result<Self, ChangeError> {
        let Some(step) = self.step_to_approve() else {
            return Err(ChangeError::NothingToApprove { id: self.id() });
        };
        let weight = self.plan.steps.get(step).map_or(Weight::ZERO, |step| step.weight);
        if self.approvals.of(step).any(|known| known == operator) {
            return Err(ChangeError::AlreadyApproved { operator: operator.to_owned(), step: step + 1, weight });
        }
        if self.missing(step, self.strictest()).is_none() {
            return Err(ChangeError::ApprovedByEnough { step: step + 1, weight });
        }
        Ok(Self { approvals: self.approvals.with(step, operator), ..self.clone() })
    }

    /// The most that any step to come names.
    fn strictest(&self) -> usize {
        (self.step + 1..self.plan.steps.len()).map(|step| self.needed(step)).max().unwrap_or_default()
    }

    fn missing(&self, step: usize, needed: usize) -> Option<Missing> {
        let count = needed.saturating_sub(self.approvals.of(step).count());
        let weight = self.plan.steps.get(step)?.weight;
        let by = self.approvals.of(step).map(str::to_owned).collect();
        (count > 0).then_some(Missing { step, weight, count, by })
    }
}

impl RoutingState {
    /// Whether `next` has an approval that `self` has not.
    pub(super) fn is_approved_more_in(&self, next: &Self) -> bool {
        let before = self.rollout.as_ref().map(|rollout| &rollout.approvals);
        next.rollout.as_ref().is_some_and(|rollout| rollout.approvals.adds_to(before.unwrap_or(&Approvals::default())))
    }

    /// Whether going from this state to `next` at the word of `by` respects the approvals: none is added but `by`'s
    /// own, and nothing is entered that lacks some. This holds for every change, also for those that nobody votes on.
    /// Fails with what stands against it.
    pub fn approvals_allow(&self, next: &Self, by: &str) -> Result<(), String> {
        let Some(after) = next.rollout.as_deref() else { return Ok(()) };
        let before = self.rollout.as_deref().filter(|before| before.started == after.started);
        let Some(before) = before else { return begins_without(after) };
        if !before.is_open() && after.is_open() {
            let anew = if after.step == 0 { Ok(()) } else { Err("it begins again with its first step".into()) };
            return anew.and_then(|()| begins_without(after));
        }
        if after.plan != before.plan {
            return Err(format!("the plan of {} may not change", before.id()));
        }
        // What was approved is the canary as it was: another server takes the approvals of what is to come with it.
        let same = after.canary == before.canary;
        let kept = if same { before.approvals.clone() } else { before.approvals.up_to(before.step) };
        if after.approvals != kept {
            return adds_one(self, next, before, by);
        }
        let lacking = match after.phase {
            Phase::Ended(Outcome::Promoted | Outcome::FastPromoted) if before.is_open() => before.lacks_for_all(),
            Phase::Progressing | Phase::Paused => (before.step + 1..=after.step).find_map(|step| after.lacks(step)),
            Phase::Ended(_) => None,
        };
        lacking.map_or(Ok(()), |missing| Err(format!("it waits for {missing}")))
    }
}

fn begins_without(rollout: &Rollout) -> Result<(), String> {
    if rollout.approvals.is_empty() { Ok(()) } else { Err("a rollout begins without approvals".into()) }
}

/// An approval adds the name of who asks for it, and changes nothing else.
fn adds_one(base: &RoutingState, next: &RoutingState, before: &Rollout, by: &str) -> Result<(), String> {
    let refused = || format!("an approval adds the operator who asks for it, {by}, and changes nothing else");
    if !before.is_open() {
        return Err(refused());
    }
    let expected = before.approved(by).map_err(|error| error.to_string())?;
    let rest = |state: &RoutingState| {
        let RoutingState { stable, canary, drained, earlier, .. } = state.clone();
        (stable, canary, drained, earlier)
    };
    if next.rollout.as_deref() == Some(&expected) && rest(base) == rest(next) { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests;
