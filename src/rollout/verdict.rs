//! The verdicts that a step and a vote rest on, from what several nodes told: none of them is taken at its word where that would
//! speak for a canary.

use super::pool::{Heed, Pool};
use super::trial::{Kind, Trial};
use judge::{Judgement, Ruling, Samples, Scope, judge};

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

/// Why this node's own counts speak against a further step of a rollout, if they do.
pub(super) fn objection(trial: &Trial, own: &Judgement) -> Option<String> {
    let beyond = own.objection().filter(|_| trial.kind != Kind::Manual)?;
    Some(format!("{beyond} on this node"))
}

/// Why what all nodes but one have counted speaks against a step that only that one's counts make good, if it does. A node
/// with little traffic has too few requests to object alone; with the others that tell the truth it has enough.
pub(super) fn doubt(trial: &Trial, pool: &Pool, own: &Samples, verdict: &Judgement) -> Option<String> {
    if trial.kind == Kind::Manual || verdict.ruling != Ruling::Pass {
        return None;
    }
    pool.reporters(trial.epoch).find_map(|node| {
        let others = pool.sum(trial.epoch, own, Heed::AllBut(node));
        let judged = judge(&trial.terms, &others, Scope::Pooled);
        judged.objection().map(|beyond| format!("{beyond} on all nodes but {node}"))
    })
}
