//! The fuzzers' way through the bodies of requests, and plans in files: everything up to the question to the agreement.

use super::outcomes::{Outcomes, told};
use super::rollouts;
use edge::body::parse_object;
use model::Weight;
use schema::{ModelRequest, PlanShape, StartRequest, UndoRequest, VerbRequest, WeightRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::{Plan, RoutingState};
use std::fmt::Debug;

/// Reads a body; the first byte says which. Gives whether it would be taken.
pub fn body(bytes: &[u8]) -> bool {
    let Some((kind, body)) = bytes.split_first() else { return false };
    match kind {
        b'w' => same::<WeightRequest>(body).is_some_and(|wanted| Weight::from_fraction(wanted.canary_weight).is_ok()),
        b's' => same::<StartRequest>(body).is_some_and(|wanted| {
            rollouts::model(wanted.canary_model_id, wanted.upstream).is_ok()
                && rollouts::plan_of(wanted.plan).is_ok_and(|plan| is_sound(&plan))
        }),
        b'v' => same::<VerbRequest>(body).is_some(),
        b'u' => same::<UndoRequest>(body).is_some(),
        b'm' => same::<ModelRequest>(body).is_some_and(|wanted| rollouts::model(wanted.id, wanted.upstream).is_ok()),
        b'o' => serde_json::from_slice(body)
            .is_ok_and(|Outcomes(outcomes)| told(&outcomes, &state()).is_ok_and(|all| all.len() == outcomes.len())),
        b'p' => same::<PlanShape>(body).is_some_and(|plan| plan.plan().is_ok_and(|plan| is_sound(&plan))),
        b't' => std::str::from_utf8(body).is_ok_and(|text| {
            let plan: Option<PlanShape> = toml::from_str(text).ok();
            plan.is_some_and(|plan| plan.plan().is_ok_and(|plan| is_sound(&plan)))
        }),
        _ => false,
    }
}

fn state() -> RoutingState {
    RoutingState::initial("v1".parse().expect("a model id"))
}

/// Whatever was understood is written in words that mean the same.
fn same<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let said: T = parse_object(body).ok()?;
    let again = serde_json::to_vec(&said).expect("what was JSON is JSON again");
    assert_eq!(parse_object::<T>(&again).ok().as_ref(), Some(&said));
    Some(said)
}

fn is_sound(plan: &Plan) -> bool {
    let weights: Vec<Weight> = plan.steps.iter().map(|step| step.weight).collect();
    assert!(weights.is_sorted() && weights.last().is_some_and(|last| *last == Weight::FULL));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_seeds_of_the_fuzzers_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/fuzz/seeds/body");
        for seed in fs::read_dir(folder).expect("seeds") {
            let path = seed.expect("readable").path();
            assert!(body(&fs::read(&path).expect("readable")), "{}", path.display());
        }
    }
}
