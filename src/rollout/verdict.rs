//! The verdicts that a step and a vote rest on, from what several nodes told: none of them is taken at its word where that would
//! speak for a canary.

use super::pool::{Heed, Pool};
use super::trial::{Kind, Trial};
use judge::{Finding, Judgement, Ruling, Samples, Scope, judge};
use service::Compare;

/// The verdict on all nodes' counts, which add up to `pooled`. Those of nodes that took hangs for good ends can only make it worse.
pub(super) fn of_all(trial: &Trial, pool: &Pool, pooled: &Samples, own: &Samples) -> Judgement {
    let verdict = judge(&trial.terms, pooled, Scope::Pooled);
    if verdict.ruling != Ruling::Pass || pool.lenient(trial.epoch).is_empty() {
        return verdict;
    }
    let strict = judge(&trial.terms, &pool.sum(trial.epoch, own, Heed::Strict), Scope::Pooled);
    match strict.ruling {
        Ruling::Pass => verdict,
        // What they count against the canary alone is no more than chance, as the verdict on all has shown.
        Ruling::Fail(_) | Ruling::Pause(_) | Ruling::NotEnough => Judgement { ruling: Ruling::NotEnough, ..strict },
    }
}

/// Why this node's own counts speak against a further step of a rollout, if they do: there are enough of them, and they are not
/// within the limits. So no counts that another node made up can make a step pass.
pub(super) fn objection(trial: &Trial, own: &Judgement) -> Option<String> {
    let is_limit = |finding: &&Finding| finding.gate.compare == Compare::Limit && finding.value.is_some();
    let beyond = own.open().find(is_limit)?;
    (trial.kind != Kind::Manual && own.missing == 0).then(|| format!("{beyond} on this node"))
}
