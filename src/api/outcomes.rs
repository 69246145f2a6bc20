//! `POST /outcomes`: how requests ended, as their callers saw it.
//!
//! One that names an answer of this node, by its `x-canary-request`, corrects what was counted of it, as far as that may be. One
//! without a name is of a request that the caller served itself, and counts as those that came through here.
//!
//! All or nothing: one outcome that cannot be taken refuses the request, and nothing of it is counted.

use super::state::Api;
use super::write::refuse_other_sites;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use edge::{Problem, admit, body};
use http::StatusCode;
use judge::{Sample, Verdict};
use member::unix_millis;
use model::{ModelId, NodeId, Peers, RequestId};
use proxy::Heard;
use schema::code;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use service::RoutingState;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Outcomes of one request: as many as fit in a body of the greatest length, and counted within some milliseconds.
const MOST_OUTCOMES: usize = 10_000;
/// The longest time that a request can have taken: beyond an hour it is another unit that was sent.
const LONGEST_MS: f64 = 3_600_000.0;

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    model: ModelId,
    /// Whether the model did what it should.
    ok: bool,
    latency_ms: f64,
    /// The answer that it is about, if a node gave one.
    #[serde(default)]
    request: Option<RequestId>,
}

/// One outcome, or a list of them.
#[derive(Debug)]
pub(super) struct Outcomes(pub(super) Vec<Outcome>);

/// What became of them.
#[derive(Debug, Default, Serialize)]
struct Taken {
    /// Those that count.
    accepted: u64,
    /// Those that do not.
    #[serde(skip_serializing_if = "is_zero")]
    ignored: u64,
    /// The latter by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<&'static str, u64>,
}

/// One outcome that can be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Told<'a> {
    model: &'a ModelId,
    sample: Sample,
    request: Option<RequestId>,
}

pub(super) async fn outcomes(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let reporter = admit(&request, "Outcomes refused", |caller| {
        api.reporters.admit(caller, request.headers(), &api.trusted_proxies, unix_millis())
    });
    if let Err(refused) = reporter.and_then(|()| refuse_other_sites(&request)) {
        body::discard(request).await;
        return Err(refused);
    }
    let body = body::read(request).await?;
    let wrong = |error: serde_json::Error| Problem::bad_request(format!("the body is not what is expected: {error}"));
    let Outcomes(outcomes) = serde_json::from_slice(&body).map_err(wrong)?;
    let view = api.handle.view();
    let all = told(&outcomes, &view.state)?;
    if let Some((place, other)) = of_another_node(&all, view.me) {
        return Err(wrong_node(&api.peers, place, other));
    }
    let mut taken = Taken::default();
    for Told { model, sample, request } in all {
        let heard = api.proxy.record_outcome(model, sample, request);
        api.counters.count_outcome(heard);
        if heard == Heard::Counted {
            taken.accepted += 1;
        } else {
            taken.ignored += 1;
            *taken.reasons.entry(heard.word()).or_default() += 1;
        }
    }
    Ok((StatusCode::ACCEPTED, Json(taken)).into_response())
}

/// What is told, each of one of the two models of `state`.
pub(super) fn told<'a>(outcomes: &'a [Outcome], state: &RoutingState) -> Result<Vec<Told<'a>>, Problem> {
    let canary = state.canary.as_ref().map(|canary| &canary.model.id);
    let one = |(place, outcome): (usize, &'a Outcome)| {
        if outcome.model != state.stable.id && Some(&outcome.model) != canary {
            return Err(unknown_model(place + 1, outcome, &state.stable.id, canary));
        }
        Ok(Told { model: &outcome.model, sample: outcome.sample(place + 1)?, request: outcome.request })
    };
    outcomes.iter().enumerate().map(one).collect()
}

/// The first that names an answer of another node than `me`, and its place.
fn of_another_node(all: &[Told<'_>], me: NodeId) -> Option<(usize, NodeId)> {
    let named = all.iter().zip(1..).filter_map(|(told, place)| Some((place, told.request?.node)));
    named.into_iter().find(|(_, node)| *node != me)
}

/// Only the node that gave an answer knows of it, and it does not ask the others.
fn wrong_node(peers: &Peers, place: usize, other: NodeId) -> Problem {
    let Some(host) = peers.host(other) else {
        return Problem::bad_request(format!("outcome {place}: {other} is no member (members: {})", peers.members()));
    };
    let location = format!("https://{}:{}/outcomes", host.in_url(), other.data_port());
    let detail = format!("outcome {place}: {other} gave that answer: tell it, at {location}");
    Problem::new(StatusCode::MISDIRECTED_REQUEST, code::WRONG_NODE, "Another node gave the request its answer", detail)
        .with("node", other.to_string())
        .with("location", location)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Outcome {
    fn sample(&self, place: usize) -> Result<Sample, Problem> {
        let took = Some(self.latency_ms).filter(|millis| (0.0..=LONGEST_MS).contains(millis));
        let Some(took) = took.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok()) else {
            let detail = format!("outcome {place}: latency_ms is {}: use 0 to {LONGEST_MS}", self.latency_ms);
            return Err(Problem::bad_request(detail));
        };
        let verdict = if self.ok { Verdict::Good } else { Verdict::Failed };
        Ok(Sample { latency: took, full: took, verdict })
    }
}

fn unknown_model(place: usize, outcome: &Outcome, stable: &ModelId, canary: Option<&ModelId>) -> Problem {
    let known = canary.map_or_else(|| stable.to_string(), |canary| format!("{stable} or {canary}"));
    let detail = format!("outcome {place}: {} serves nothing now: use {known}", outcome.model);
    Problem::new(StatusCode::BAD_REQUEST, code::UNKNOWN_MODEL, "There is no such model in the state", detail)
}

impl<'de> Deserialize<'de> for Outcomes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(List)
    }
}

/// Accepts an object, or a list of them, and says where in the list something is wrong.
struct List;

impl<'de> Visitor<'de> for List {
    type Value = Outcomes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an outcome, { … }, or a list of them, [{ … }, …]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Outcomes, A::Error> {
        Object.visit_map(map).map(|outcome| Outcomes(vec![outcome]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Outcomes, A::Error> {
        let mut outcomes = Vec::new();
        loop {
            let place = outcomes.len() + 1;
            let next = seq.next_element_seed(Object);
            match next.map_err(|error| de::Error::custom(format_args!("outcome {place}: {error}")))? {
                None => return Ok(Outcomes(outcomes)),
                Some(_) if place > MOST_OUTCOMES => {
                    return Err(de::Error::custom(format_args!("at most {MOST_OUTCOMES} outcomes are taken at once")));
                }
                Some(outcome) => outcomes.push(outcome),
            }
        }
    }
}

/// Accepts an object only: serde would take a list of the fields in their order, too.
struct Object;

impl<'de> de::DeserializeSeed<'de> for Object {
    type Value = Outcome;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outcome, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = Outcome;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with model, ok and latency_ms, and perhaps request")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Outcome, A::Error> {
        Outcome::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Weight;
    use service::{Canary, Model};

    fn state() -> RoutingState {
        let model = Model { id: "v2".parse().expect("a model id"), upstream: None };
        RoutingState {
            canary: Some(Canary { model, weight: Weight::ZERO, salt: "rollout-1".into() }),
            ..RoutingState::initial("v1".parse().expect("a model id"))
        }
    }

    fn read(body: &str) -> Result<Vec<(String, Sample)>, String> {
        let Outcomes(outcomes) = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let all = told(&outcomes, &state()).map_err(|problem| format!("{problem:?}"))?;
        Ok(all.into_iter().map(|told| (told.model.to_string(), told.sample)).collect())
    }

    #[test]
    fn one_outcome_or_many_are_read() {
        let sample = |millis, verdict| {
            let took = Duration::from_millis(millis);
            Sample { latency: took, full: took, verdict }
        };
        let one = read(r#"{"model":"v2","ok":false,"latency_ms":12}"#);
        assert_eq!(one, Ok(vec![("v2".into(), sample(12, Verdict::Failed))]));
        let many = read(r#"[{"latency_ms":0,"ok":true,"model":"v1"},{"model":"v2","ok":true,"latency_ms":3.6e6}]"#);
        let expected = [("v1".into(), sample(0, Verdict::Good)), ("v2".into(), sample(3_600_000, Verdict::Good))];
        assert_eq!(many, Ok(expected.into()));
        assert_eq!(read("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        const GOOD: &str = r#"{"model":"v1","ok":true,"latency_ms":1}"#;
        for (second, named) in [
            (r#"{"model":"v1","ok":true,"latency_ms":1,"user":"x"}"#, "user"),
            (r#"{"model":"v1","ok":true}"#, "latency_ms"),
            (r#"{"model":"v3","ok":true,"latency_ms":1}"#, code::UNKNOWN_MODEL),
            (r#"{"model":"-","ok":true,"latency_ms":1}"#, "model id"),
            (r#"{"model":"v1","ok":true,"latency_ms":-0.1}"#, "-0.1"),
            (r#"{"model":"v1","ok":true,"latency_ms":3600000.1}"#, "3600000"),
            (r#"{"model":"v1","ok":true,"latency_ms":1e999}"#, "number"),
            (r#"{"model":"v1","ok":true,"latency_ms":NaN}"#, "value"),
            (r#"{"model":"v1","ok":true,"latency_ms":null}"#, "null"),
            (r#"{"model":"v1","ok":1,"latency_ms":1}"#, "boolean"),
            (r#"{"model":"v1","ok":true,"ok":true,"latency_ms":1}"#, "duplicate"),
            (r#"{"model":"v1","ok":true,"latency_ms":1,"request":"00c0ffee00c0ffee"}"#, "x-canary-request"),
            (r#"{"model":"v1","ok":true,"latency_ms":1,"request":7}"#, "string"),
            (r#"["v1",true,1]"#, "an object"),
            ("7", "an object"),
        ] {
            let problem = read(&format!("[{GOOD},{second}]")).expect_err(second);
            assert!(problem.contains("outcome 2") && problem.contains(named), "{second}: {problem}");
        }
        for body in ["", "7", "null", r#""x""#, "{}", &format!("{GOOD}{GOOD}"), &format!("[{GOOD}")] {
            assert!(read(body).is_err(), "{body}");
        }
        let model: ModelId = "v1".parse().expect("a model id");
        let millis = |latency_ms| Outcome { model: model.clone(), ok: true, latency_ms, request: None }.sample(1);
        for unreal in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(millis(unreal).is_err(), "{unreal}");
        }
    }

    #[test]
    fn there_is_a_limit_to_their_number() {
        let list = |number| format!("[{}]", vec![r#"{"model":"v1","ok":true,"latency_ms":1}"#; number].join(","));
        assert_eq!(read(&list(MOST_OUTCOMES)).map(|samples| samples.len()), Ok(MOST_OUTCOMES));
        assert!(read(&list(MOST_OUTCOMES + 1)).is_err_and(|problem| problem.contains("10000")));
    }
}
