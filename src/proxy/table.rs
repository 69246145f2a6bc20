//! The routing table: what a routing state means for this node's requests, worked out once for each state instead of
//! once for each request.

use crate::fast::template::Template;
use crate::route::{Route, decoded};
use crate::upstream::address::{Upstream, UpstreamError, Upstreams};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use judge::Verdict;
use member::View;
use model::ModelId;
use routing::Choice;
use service::{Model, Plan, RoutingState, Shield};
use std::sync::Arc;

pub(super) struct Table {
    /// The state that this was made from.
    pub(super) state: Arc<RoutingState>,
    /// Whether the node knows what its mesh has agreed on.
    pub(super) has_joined: bool,
    /// `x-canary-node`.
    pub(super) node: HeaderValue,
    /// `x-canary-version`.
    pub(super) version: HeaderValue,
    stable: Target,
    canary: Option<Target>,
    shield: Shield,
    /// The plan of the rollout that is open, for what it says of requests.
    plan: Option<Arc<Plan>>,
}

/// One of the two models, prepared.
pub(super) struct Target {
    pub(super) model: ModelId,
    /// `x-canary-model`.
    pub(super) name: HeaderValue,
    pub(super) upstream: Result<Option<Upstream>, UpstreamError>,
    /// How plain requests get there.
    pub(super) template: Option<Template>,
    /// The headers that name model, version and node, as lines of HTTP/1.1.
    pub(super) signature: Vec<u8>,
    sticky: Prepared,
    random: Prepared,
}

/// The answer of a model that is served nowhere.
pub(super) struct Prepared {
    /// Status line and headers of HTTP/1.1, without the empty line at their end.
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

/// Whether a request has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stickiness {
    /// It has, and goes where the key goes.
    Sticky,
    /// It goes anywhere.
    Random,
}

impl Table {
    /// Prepares what `view` shows.
    pub(super) fn new(view: &View, upstreams: &Upstreams) -> Self {
        let target = |model| Target::new(model, view, upstreams);
        Self {
            state: Arc::clone(&view.state),
            has_joined: view.stage.has_joined(),
            node: header(&view.me.to_string()),
            version: HeaderValue::from(view.state.version),
            stable: target(&view.state.stable),
            canary: view.state.canary.as_ref().map(|canary| target(&canary.model)),
            // Without an open rollout it is on.
            shield: view.state.open_rollout().map_or(Shield::On, |rollout| rollout.plan.shield),
            plan: view.state.open_rollout().map(|rollout| Arc::clone(&rollout.plan)),
        }
    }

    /// The same with another shield.
    #[cfg(test)]
    pub(super) fn with_shield(self, shield: Shield) -> Self {
        Self { shield, ..self }
    }

    /// Whether this still is what `view` shows. States are shared, so the pointer tells; an equal copy is prepared again.
    pub(super) fn is_of(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.state, &view.state) && self.has_joined == view.stage.has_joined()
    }

    /// Whether requests for this path are evidence, as far as the plan says.
    pub(super) fn counts(&self, path: &str) -> bool {
        let uncounted = self.plan.as_ref().map_or(&[][..], |plan| &plan.uncounted);
        uncounted.is_empty() || !uncounted.iter().any(|named| *named == decoded(path))
    }

    /// What an answer with this status says about its model.
    pub(super) fn verdict(&self, status: StatusCode) -> Verdict {
        let is_expected = || self.plan.as_ref().is_some_and(|plan| plan.expected.contains(&status.as_u16()));
        match status.as_u16() {
            300..=399 if !is_expected() => Verdict::Redirect,
            400..=499 if !is_expected() => Verdict::ClientError,
            // The model is asked for what it never had.
            501 | 505 => Verdict::ClientError,
            500.. => Verdict::Failed,
            _ => Verdict::Good,
        }
    }

    /// The model of `choice`. Without a canary every choice is the stable model.
    pub(super) fn target(&self, choice: Choice) -> &Target {
        match choice {
            Choice::Stable => &self.stable,
            Choice::Canary => self.canary.as_ref().unwrap_or(&self.stable),
        }
    }

    /// The choice that stands in for `choice` when that cannot be asked: the stable model for the canary, if the shield is
    /// on and the stable model has an answer to requests by `route`.
    pub(super) const fn substitute(&self, choice: Choice, route: Route) -> Option<Choice> {
        let stable_answers =
            !matches!((&self.stable.upstream, route), (Ok(None), Route::BesidePrediction | Route::Inference));
        match (choice, &self.canary, self.shield) {
            (Choice::Canary, Some(_), Shield::On) if stable_answers => Some(Choice::Stable),
            (Choice::Canary | Choice::Stable, Some(_) | None, Shield::On | Shield::Off) => None,
        }
    }
}

impl Target {
    fn new(model: &Model, view: &View, upstreams: &Upstreams) -> Self {
        let upstream = upstreams.of(model);
        Self {
            model: model.id.clone(),
            name: header(model.id.as_str()),
            template: upstream.as_ref().ok().and_then(Option::as_ref).map(Template::to),
            signature: signature(model, view).into_bytes(),
            upstream,
            sticky: Prepared::new(model, view, "true"),
            random: Prepared::new(model, view, "false"),
        }
    }

    /// The answer when the model is served nowhere.
    pub(super) const fn decision(&self, stickiness: Stickiness) -> &Prepared {
        match stickiness {
            Stickiness::Sticky => &self.sticky,
            Stickiness::Random => &self.random,
        }
    }
}

impl Prepared {
    fn new(model: &Model, view: &View, sticky: &str) -> Self {
        // Model ids and node ids hold no character that JSON would escape.
        let (id, version, node) = (&model.id, view.state.version, view.me);
        let body = format!(r#"{{"model_selected":"{id}","version":{version},"node_id":"{node}","sticky":{sticky}}}"#);
        let (signature, length) = (signature(model, view), body.len());
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{signature}content-length: {length}\r\n");
        Self { head: head.into_bytes(), body: body.into() }
    }
}

fn signature(model: &Model, view: &View) -> String {
    let (id, version, node) = (&model.id, view.state.version, view.me);
    format!("x-canary-model: {id}\r\nx-canary-version: {version}\r\nx-canary-node: {node}\r\n")
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("model ids and node ids are printable ASCII")
}
